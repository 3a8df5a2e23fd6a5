"""Keeps the sync and the hourly check running after the playbook has ended, and reports how they are."""
