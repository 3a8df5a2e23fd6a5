"""The stand-in world: real servers on this machine that the runbook can be rehearsed against."""
