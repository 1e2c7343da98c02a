"""Weights to integers: the grids of their blocks, and ways of rounding that look at more than one number."""
