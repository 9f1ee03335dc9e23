"""ART's evasion attacks by their name in `safeml.toml`. A new attack is one row in `rows.py`."""

from __future__ import annotations

from safeml.attacks.art.refused import REFUSED
from safeml.attacks.art.row import Row as Row
from safeml.attacks.art.rows import WORKING
from safeml.errors import ConfigError
from safeml.settings.errors import suggest
from safeml.threats import Threat

ART_ATTACKS: dict[str, Row] = {**WORKING, **REFUSED}


def art_attack(name: str, threat: Threat | None = None) -> Row:
    """The row of an attack that runs, and that can be held to `threat` where it is bounded by an epsilon.

    Raises ConfigError for an unknown name, an attack that is refused, or a norm that it cannot be held to.
    """
    if name not in ART_ATTACKS:
        raise ConfigError(f'there is no attack of ART called "{name}"{suggest(name, list(ART_ATTACKS))}.')
    row = ART_ATTACKS[name]
    if row.refused:
        raise ConfigError(
            f'the attack "{name}" of ART does not run here: {row.refused}; take it off the list.'
        )
    if threat is not None and not row.fits(threat):
        raise ConfigError(
            f'the attack "{name}" of ART is bounded in {" or ".join(row.norms)}, and the threat is in {threat.norm}; '
            f"choose a threat of that norm, or another attack."
        )
    return row
