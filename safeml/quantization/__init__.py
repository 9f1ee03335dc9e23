"""INT8 for Keras 3 models: calibration, quantization-aware training, and what each layer loses.

Symmetric, zero point 0: activations per tensor with codes -128..127, weights per output channel with codes -127..127.
"""
