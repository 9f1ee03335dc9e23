"""From a fake-quantized Keras model to files for TensorRT, TF-TRT and LiteRT, and the checks that need no GPU."""
