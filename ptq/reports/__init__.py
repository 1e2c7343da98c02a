"""What a person is told of a model: what stands in the way, and what became of every operation."""
