"""From thresholds to integer grids, and what a grid costs."""
