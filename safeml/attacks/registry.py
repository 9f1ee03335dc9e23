"""The attacks as functions, by the name of their row. A new attack is a row in `rows.py`; nothing changes here."""

from __future__ import annotations

from importlib import import_module

from safeml.attacks.base import Attack
from safeml.attacks.rows import ROWS, AttackRow


def _function(row: AttackRow) -> Attack:
    module, _, name = row.function.partition(":")
    attack: Attack = getattr(import_module(module), name)
    return attack


ATTACKS: dict[str, Attack] = {name: _function(row) for name, row in ROWS.items()}
