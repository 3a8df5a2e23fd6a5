"""Measures and judges: the gate between weights, the bake, the watch, the soak."""
