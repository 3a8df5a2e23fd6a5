"""How fast the copy and the comparison are, measured in one run beside other ways to do the same work."""
