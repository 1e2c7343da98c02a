"""Float model in, float model out, same function."""
