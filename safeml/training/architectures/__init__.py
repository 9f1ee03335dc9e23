"""One file an architecture family, one row in the registry. TensorFlow and Keras may be imported here."""
