"""The mappings of rows, forward and backward: declarations read from .sql files. Uses no database."""
