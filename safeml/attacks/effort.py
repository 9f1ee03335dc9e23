"""What is known of each attack without running it: its title, its knowledge, and what the settings let it spend.

No framework: the plan and the report of an audit read this too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from safeml.config import AdversarialSettings

Knowledge = Literal["white box", "queries", "transfer"]
TRANSFER = "transfer"  # the attack on the surrogate, which is no name of the settings


@dataclass(frozen=True)
class Effort:
    """spends: the settings -> (steps, attempts), see `Budget`. everywhere: cheap enough for every threat and every image;
    the others get what is left, at the threats of the full ensemble. minimal: seeks the nearest, at any distance."""

    title: str
    knowledge: Knowledge
    spends: Callable[[AdversarialSettings], tuple[int, int]]
    everywhere: bool = False
    minimal: bool = False

    @property
    def gradient(self) -> bool:
        """Whether it follows a gradient, be it a surrogate's."""
        return self.knowledge != "queries"


EFFORT: dict[str, Effort] = {
    "fgsm": Effort("FGSM", "white box", lambda settings: (1, 1), everywhere=True),
    "pgd": Effort("PGD", "white box", lambda settings: (settings.steps, settings.restarts), everywhere=True),
    "fmn": Effort("FMN", "white box", lambda settings: (settings.fmn_steps, 1), minimal=True),
    "apgd_ce": Effort("APGD-CE", "white box", lambda settings: (settings.apgd_steps, settings.restarts)),
    "apgd_t": Effort("APGD-T", "white box", lambda settings: (settings.apgd_steps, settings.targets)),
    "square": Effort("Square", "queries", lambda settings: (settings.queries, 1)),
    TRANSFER: Effort("Transfer (MI-FGSM)", "transfer", lambda settings: (settings.steps, 1)),
}
# What an attack may be shown instead of the plain classifier (`views.py`): in a table, and in a sentence.
VIEWS = {
    "": ("", "more steps"),
    "straight_through": ("straight-through", "gradients passed straight through rounding and signs (BPDA)"),
    "smoothed": ("smoothed", "gradients averaged over small noise in the pixels"),
    "expectation": ("expectation", "gradients averaged over random answers (EOT)"),
    "answers_alone": ("", "queries alone"),
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
GOAL = "any wrong answer (untargeted), MITRE ATLAS AML.T0015"
