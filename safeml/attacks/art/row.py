"""What the registry says of an attack of ART."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from safeml.threats import Threat

Aim = Literal["linf", "l2", "l0", "l1", "patch", "spatial", "other"]


@dataclass(frozen=True)
class Row:
    """An evasion attack of ART.

    art_class: its class in `art.attacks.evasion`, or with its module where it is elsewhere.
    threat: the norm that it bounds or makes small; of an attack that bounds several, the one of the threat it is given.
    knowledge: what it asks of the model: gradients ("white box"), scores, or decisions alone.
    note: what a reader of a report should know of it. refused: why it does not run here; "" where it does.
    parameters: given to the class as they are. of_epsilon: parameters that are multiples of the threat's epsilon.
    inner, inner_of_epsilon: the same for the attack that a universal attack is made of.
    norms: the norms in which it can be held to an epsilon; empty where it searches for a small change by itself.
    takes_norm: the class wants the threat's norm as `norm`.
    group: how many images it is given at a time: one, a batch, or all of them, as an attack on all images at once needs.
    labels: what `generate` is given as y: the true labels (one-hot), targets (one-hot), or nothing.
    outputs: what it is shown of the model, see `breadth_estimator`.
    least_classes: the fewest classes that it works with.
    start: it is given a misclassified image to start from, for ART would draw one from an unseeded generator.
    writes: it writes into the working folder.
    """

    art_class: str
    threat: Aim
    knowledge: Literal["white box", "scores", "decisions"]
    note: str
    refused: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    of_epsilon: Mapping[str, float] = field(default_factory=dict)
    inner: Mapping[str, object] = field(default_factory=dict)
    inner_of_epsilon: Mapping[str, float] = field(default_factory=dict)
    norms: tuple[Literal["linf", "l2"], ...] = ()
    takes_norm: bool = False
    group: Literal["one", "batch", "all"] = "one"
    labels: Literal["true", "target", "one target", "none"] = "true"
    outputs: Literal["logits", "probabilities", "margins"] = "logits"
    least_classes: int = 2
    start: bool = False
    writes: bool = False

    def fits(self, threat: Threat) -> bool:
        """Whether the attack can be held to the epsilon of `threat`, or searches for a small change by itself."""
        return not self.norms or threat.norm in self.norms
