"""From Paddle's portable program (PIR) to the legacy ``.pdmodel``, the only Paddle format whose quantize operations reach int8 kernels."""
