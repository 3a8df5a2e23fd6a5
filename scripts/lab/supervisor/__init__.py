"""Keeps services running where there is no systemd."""
