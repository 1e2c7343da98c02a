"""From statistics to thresholds: one rule a file."""
