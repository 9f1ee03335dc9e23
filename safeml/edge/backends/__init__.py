"""What runs a model: TensorRT, TF-TRT, or ONNX Runtime on a host. Each is one file; `opening` chooses."""
