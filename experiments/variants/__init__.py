"""Published variants of DreamerV3, each as a plugin of one file."""
