"""The attack engine: one loop (engine.py) with holes (method.py), one file an attack, a row in registry.py and in effort.py.

signs/: threats to the sign itself. art/: the Adversarial Robustness Toolbox. views.py: what an attack may be shown instead of the
plain classifier. TensorFlow and ART only in here, imported lazily.
"""
