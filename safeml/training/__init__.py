"""Training of the reference models. TensorFlow and Keras may be imported here; nothing here evaluates a model."""
