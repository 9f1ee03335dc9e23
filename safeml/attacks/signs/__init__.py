"""Attacks that change a traffic sign itself: a sticker, a shadow, graffiti, another view, one patch for all signs of a class.

One file an attack, one row in the registry. TensorFlow only in here, lazily.
"""
