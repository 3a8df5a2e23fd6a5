"""The core of the migration: plain Python and SQL, with no Ansible in it."""
