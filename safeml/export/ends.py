"""Names and limits of exported ONNX files, for readers and writers of them. It imports nothing."""

IMAGE, LOGITS, FEATURES, PROBABILITIES = "image", "logits", "features", "probabilities"
# The name of a dynamic batch.
BATCH = "batch"
OPSET = 13
# QuantizeLinear has an axis from 13 on; TensorRT 8.5, the oldest that INT8 on a Jetson needs, reads up to 17.
OPSETS = (13, 17)
# Codes of kernels are in -127..127.
LARGEST_CODE = 127
