"""The attacks by their name in `safeml.toml`. A new attack is one file, one row here, its name in
`safeml/config/stages.py`, and one row in the test table."""

from __future__ import annotations

from safeml.attacks.base import Attack
from safeml.attacks.fgsm import fgsm
from safeml.attacks.pgd import pgd

ATTACKS: dict[str, Attack] = {"fgsm": fgsm, "pgd": pgd}
