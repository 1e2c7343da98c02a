"""States larger than memory: read tensor by tensor, quantized, written, and loaded into a model."""
