"""Launch files for machines of many accelerators."""
