"""Rehearsals: the operator's journey run by a program, planned faults, and the scan for secrets."""
