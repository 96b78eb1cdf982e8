"""Callbacks; there are none yet, so all are yours: `config.plugins`."""
