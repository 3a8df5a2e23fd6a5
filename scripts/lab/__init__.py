"""The lab: a test environment of real servers on this machine, for rehearsals and tests."""
