"""The Adversarial Robustness Toolbox (ART) on the same classifier: a second opinion, and breadth.

`pgd.art_pgd` checks our own engine. `breadth.run_art` runs one of the evasion attacks that `registry.ART_ATTACKS` lists. The
registry needs neither ART nor NumPy: ART is imported when an attack runs, and only by the files of this folder.
"""
