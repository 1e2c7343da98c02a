"""From a calibrated model to a quantized one: plan, weights, twins, apply."""
