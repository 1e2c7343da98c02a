"""What tests that run int8 in real runtimes ask of this machine's processor.

Without int8 dot products (VNNI) the kernels of OpenVINO and Paddle Inference add two products in 16 bits, which saturate with weights of
8 bits, and have no switch for it.  There such tests use 7 bits, which never saturate; elsewhere 8.
"""

from __future__ import annotations

from ptq.runtimes.cpu import this_cpu

__all__ = ["INT8_DECONVOLUTION", "LARGEST_WEIGHT", "WEIGHT_BITS"]

WEIGHT_BITS = 7 if this_cpu().saturates else 8
# oneDNN has no int8 kernel for transposed convolutions that works without them.
INT8_DECONVOLUTION = not this_cpu().saturates
LARGEST_WEIGHT = 2 ** (WEIGHT_BITS - 1) - 1
