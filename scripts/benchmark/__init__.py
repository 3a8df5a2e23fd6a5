"""The benchmark: measures the copy, the comparison and the sync beside other tools for the same work."""
