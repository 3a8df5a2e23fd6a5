"""Proves that both sides hold the same rows, names the differences, and reconciles them."""
