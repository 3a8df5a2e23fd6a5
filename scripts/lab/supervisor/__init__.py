"""Keeps services running on a machine without systemd."""
