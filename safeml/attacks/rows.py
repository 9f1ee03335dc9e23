"""The attacks by their name in `safeml.toml`: everything that can be known of one without running it.

A new attack is one file, one row here and one row in the test table. No framework and no NumPy: settings, plan and report read
this too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Knowledge = Literal["white box", "queries", "transfer"]
FIRST_TARGETS = 2  # target classes of APGD-T that every survivor gets
TRANSFER = "transfer"  # the attack on the surrogate; the settings do not name it


class Budgets(Protocol):
    """The settings that say how much each attack may spend; see `AdversarialSettings` for the fields."""

    @property
    def steps(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def apgd_steps(self) -> int: ...
    @property
    def targets(self) -> int: ...
    @property
    def fmn_steps(self) -> int: ...
    @property
    def ddn_steps(self) -> int: ...
    @property
    def queries(self) -> int: ...


@dataclass(frozen=True)
class AttackRow:
    """One attack.

    title: as the report writes it.
    function: "module:name" of the attack, imported when it runs.
    knowledge: what the adversary needs.
    effort: settings -> (steps, attempts), see `Budget`.
    everywhere: fast enough for every threat and every image; the other attacks get the survivors, at the threats of the full ensemble.
    minimal: seeks the nearest adversarial example, at any distance.
    norms: in which it is defined; it does not run at the threats of another norm.
    targeted: attempts are target classes, so that there are at most K - 1.
    short: settings -> the attempts that every survivor gets where the settings spend where it counts; None: all of them.
    required: a gate on robust accuracy asks for it.
    least: settings below which it runs in name only, so that no gate may read the result.
    """

    title: str
    function: str
    knowledge: Knowledge
    effort: Callable[[Budgets], tuple[int, int]]
    everywhere: bool = False
    minimal: bool = False
    norms: tuple[str, ...] = ("linf", "l2")
    targeted: bool = False
    short: Callable[[Budgets], int] | None = None
    required: bool = False
    least: Mapping[str, int] = field(default_factory=dict)

    @property
    def gradient(self) -> bool:
        """Whether it follows a gradient, the surrogate's included."""
        return self.knowledge != "queries"

    @property
    def every_threat(self) -> bool:
        """Whether its result covers every threat of its norms, not only those of the full ensemble."""
        return self.everywhere or self.minimal


ROWS: dict[str, AttackRow] = {
    "fgsm": AttackRow(
        "FGSM", "safeml.attacks.fgsm:fgsm", "white box", lambda settings: (1, 1), everywhere=True
    ),
    "pgd": AttackRow(
        "PGD",
        "safeml.attacks.pgd:pgd",
        "white box",
        lambda settings: (settings.steps, settings.restarts),
        everywhere=True,
        required=True,
        least={"steps": 5},
    ),
    "fmn": AttackRow(
        "FMN", "safeml.attacks.fmn:fmn", "white box", lambda settings: (settings.fmn_steps, 1), minimal=True
    ),
    "ddn": AttackRow(
        "DDN",
        "safeml.attacks.ddn:ddn",
        "white box",
        lambda settings: (settings.ddn_steps, 1),
        minimal=True,
        norms=("l2",),
    ),
    "apgd_pm": AttackRow(
        "APGD-PM",
        "safeml.attacks.apgd:apgd_pm",
        "white box",
        lambda settings: (settings.apgd_steps, settings.restarts),
    ),
    "apgd_ce": AttackRow(
        "APGD-CE",
        "safeml.attacks.apgd:apgd_ce",
        "white box",
        lambda settings: (settings.apgd_steps, settings.restarts),
        short=lambda settings: 0,
        required=True,
        least={"apgd_steps": 10},
    ),
    "apgd_t": AttackRow(
        "APGD-T",
        "safeml.attacks.apgd:apgd_t",
        "white box",
        lambda settings: (settings.apgd_steps, settings.targets),
        targeted=True,
        short=lambda settings: min(FIRST_TARGETS, settings.targets),
        required=True,
        least={"apgd_steps": 10},
    ),
    "square": AttackRow(
        "Square",
        "safeml.attacks.square:square",
        "queries",
        lambda settings: (settings.queries, 1),
        short=lambda settings: 0,
        required=True,
        least={"queries": 50},
    ),
    TRANSFER: AttackRow(
        "Transfer (MI-FGSM)",
        "safeml.attacks.momentum:momentum",
        "transfer",
        lambda settings: (settings.steps, 1),
    ),
}
# The names that `[stages.adversarial] attacks` may hold, in the order in which they run.
ATTACK_NAMES = tuple(name for name in ROWS if name != TRANSFER)
ENSEMBLE = tuple(name for name, row in ROWS.items() if row.required)
FEWEST = {key: least for row in ROWS.values() for key, least in row.least.items()}

# What an attack may be given instead of the plain classifier (`views.py`): in a table, and in a sentence.
VIEWS = {
    "": ("", "more steps"),
    "straight_through": (
        "straight-through",
        "gradients passed straight through operations that have none (BPDA)",
    ),
    "smoothed": ("smoothed", "gradients averaged over small noise in the pixels"),
    "expectation": ("expectation", "gradients averaged over random outputs (EOT)"),
    "answers_alone": ("", "queries only"),
}
# MITRE ATLAS 5.6.0, and NIST AI 100-2e2025.
ATLAS = {
    "white box": "AML.T0043.000",
    "queries": "AML.T0043.001",
    "transfer": "AML.T0043.002",
    "by hand": "AML.T0043.003",
}
NIST = {
    "white box": "NISTAML.022",
    "queries": "NISTAML.025",
    "transfer": "NISTAML.025",
    "by hand": "NISTAML.022",
}
GOAL = "any incorrect class (untargeted), MITRE ATLAS AML.T0015"
