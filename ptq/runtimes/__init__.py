"""ONNX Runtime, OpenVINO and Paddle Inference, each written once: open a file, run it, profile it, choose its precision."""
