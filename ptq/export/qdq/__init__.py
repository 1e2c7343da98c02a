"""From a simulated model to an ONNX file with QuantizeLinear and DequantizeLinear, and its check in the runtimes that execute it."""
