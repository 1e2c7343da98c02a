"""From a calibrated model to a quantized one."""
