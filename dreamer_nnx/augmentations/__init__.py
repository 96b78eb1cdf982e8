"""Home of the slot `augmentation`; there are none built in."""
