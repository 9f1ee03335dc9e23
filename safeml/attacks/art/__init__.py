"""The Adversarial Robustness Toolbox (ART) on the same classifier: a second opinion, and breadth.

`art_pgd` checks the own engine. `run_art` runs one of the evasion attacks that `ART_ATTACKS` knows by name. The names
come without ART: it is imported when an attack runs, and by the files of this folder alone.
"""

from safeml.attacks.art.breadth import BreadthOutcome as BreadthOutcome
from safeml.attacks.art.breadth import run_art as run_art
from safeml.attacks.art.pgd import art_classifier as art_classifier
from safeml.attacks.art.pgd import art_pgd as art_pgd
from safeml.attacks.art.pgd import art_pgd_attack as art_pgd_attack
from safeml.attacks.art.registry import ART_ATTACKS as ART_ATTACKS
from safeml.attacks.art.registry import Row as Row
from safeml.attacks.art.registry import art_attack as art_attack
