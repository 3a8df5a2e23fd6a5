"""What each row becomes, and back: declarations read from .sql files. Asks no database."""
