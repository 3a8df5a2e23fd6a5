"""The core of the migration: plain Python and SQL, without Ansible."""
