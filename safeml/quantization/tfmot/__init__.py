"""The backend "tfmot": TensorFlow Model Optimization (TFMOT) trains the fake-quantized model, in a child process.

TFMOT needs Keras 2 (`tf_keras`). Only `bridge`, `scheme`, `fit` and `child` import it, and they run in the child alone.
"""
