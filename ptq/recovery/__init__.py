"""What wins accuracy back without labels, one file a recovery."""
