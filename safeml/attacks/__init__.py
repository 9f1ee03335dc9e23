"""The attack engine: one descent loop, one file an attack, one row in the registry. TensorFlow and ART only in here, lazily."""
