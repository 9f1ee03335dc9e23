"""The INT8 grid as TensorFlow operations, and the Keras layers on it. A leaf: the rooms that open a model import it."""
