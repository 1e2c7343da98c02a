"""Small helpers without knowledge of quantization."""
