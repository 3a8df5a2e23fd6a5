"""Carries changed rows between the two databases, both ways: capture, change log, converge, conflicts, the fence."""
