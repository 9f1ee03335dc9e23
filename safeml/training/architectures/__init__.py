"""Architectures: one file per family, one row in the registry. TensorFlow and Keras may be imported here."""
