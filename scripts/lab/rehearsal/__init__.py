"""The journey of an operator, typed by a program; what goes wrong on purpose; the search for secrets."""
