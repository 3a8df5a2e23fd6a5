"""How fast the copy, the comparison and the sync are, measured beside other ways to do the same work."""
