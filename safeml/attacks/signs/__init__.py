"""Attacks that change a traffic sign itself: a sticker, a shadow, graffiti, another view, one patch for all signs of a class.

One file and one row in the registry per attack. TensorFlow only here, imported lazily.
"""
