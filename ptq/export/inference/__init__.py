"""A legacy program that Paddle Inference runs in int8."""
