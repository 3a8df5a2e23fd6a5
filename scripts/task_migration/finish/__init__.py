"""Removes what was temporary, and Laravel's task code; creates the alarms that remain."""
