"""Leaves a package out that has to be installed, and has tests of its own."""

collect_ignore = ['example_plugin']
