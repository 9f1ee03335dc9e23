"""The attacks by their name in `safeml.toml`. A new attack is one file, one row here and in `effort.py`, its name in
`safeml/config/stages.py`, and one row in the test table."""

from __future__ import annotations

from safeml.attacks.apgd import apgd_ce, apgd_t
from safeml.attacks.base import Attack
from safeml.attacks.fgsm import fgsm
from safeml.attacks.fmn import fmn
from safeml.attacks.momentum import momentum
from safeml.attacks.pgd import pgd
from safeml.attacks.square import square

ATTACKS: dict[str, Attack] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "apgd_ce": apgd_ce,
    "apgd_t": apgd_t,
    "fmn": fmn,
    "square": square,
    "transfer": momentum,  # no name of the settings: it is shown the surrogate
}
