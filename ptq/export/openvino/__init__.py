"""OpenVINO's own format, made of the int8 ONNX model."""
