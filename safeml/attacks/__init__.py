"""The attack engine: one loop (engine.py) with holes (method.py), one file and one row in rows.py per attack.

signs/: threats to the sign itself. art/: the Adversarial Robustness Toolbox. views.py: what an attack may be given instead of the
plain classifier. TensorFlow and ART only here, imported lazily.
"""
