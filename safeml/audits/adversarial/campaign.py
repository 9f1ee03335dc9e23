"""All attacks of an audit in their order, and the ledger of what each of them broke. Legend: N images, H W C pixels, K classes.

FGSM and PGD see every image at every threat. What they leave goes, packed, to the attacks that cost more, at the threats of
the full ensemble. Whatever was found counts at every threat of its norm whose ball it lies in, so that robust accuracy
never rises with epsilon, and one run gives the whole curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from safeml.attacks.rows import ROWS
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import ROUNDING, Measured
from safeml.metrics.classification import softmax
from safeml.metrics.perturbation import perturbation_size
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

# Where an attack for the nearest image may look: as far as pixels go, or 7/255 at every pixel of the largest picture.
FARTHEST = {"linf": Threat(norm="linf", epsilon=1.0), "l2": Threat(norm="l2", epsilon=50.0)}
NOBODY = ""


@dataclass(eq=False)
class Found:
    """The nearest misclassified image of one norm, for each image.

    size: float64 [N], infinite where none was found, 0 where wrong when clean. by: the attack (and view), or "".
    step, attempt: int64 [N], as in `AttackOutcome`.
    """

    size: np.ndarray
    by: np.ndarray
    step: np.ndarray
    attempt: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray) -> Found:
        nothing = np.zeros(len(right), np.int64)
        return cls(np.where(right, np.inf, 0.0), np.full(len(right), NOBODY, object), nothing, nothing.copy())


@dataclass(frozen=True)
class Tally:
    """What one attack did at one threat. given: images it got. broken: of these, and right when clean.

    looks: gradients or queries it made.
    left: images of the sample that are still right after it and all before it.
    """

    attack: str
    view: str
    threat: Threat
    given: int
    broken: int
    looks: int
    left: int


@dataclass(eq=False)
class Worst:
    """The most confident wrong answers at the main threat. confidence: float64 [N], -1 for none."""

    attacked: np.ndarray
    logits: np.ndarray
    confidence: np.ndarray


@dataclass(eq=False)
class Campaign:
    """Run it once with `run`. progress: told what is done, how many attacks are, and of how many.

    blind: the model gives no gradient, so that what is left is no worst case.
    found: by norm. broken: by threat, bool [N], broken by an attack at that very threat. measured: attacks that saw every
    image of the sample. hits: bool [N], what an attack broke at a threat. tallies: one for each attack and threat, in order.
    """

    items: Items
    settings: AdversarialSettings
    main: Threat
    progress: Callable[[str, int, int], None]
    blind: bool = False
    found: dict[str, Found] = field(default_factory=dict)
    broken: dict[Threat, np.ndarray] = field(default_factory=dict)
    measured: dict[tuple[str, Threat], Measured] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)
    hits: dict[tuple[str, Threat], np.ndarray] = field(default_factory=dict)
    faulty: list[tuple[str, Threat, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        clean = self.items.clean
        for threat in self.settings.threats:
            self.found.setdefault(threat.norm, Found.of(clean.right))
            self.broken[threat] = ~clean.right
        count = len(clean.labels)
        self.suspect = np.zeros(count, bool)  # images that count as broken for the faults of an attack
        self.worst = Worst(clean.images.copy(), clean.logits.copy(), np.full(count, -1.0))

    def run(self, attacks: tuple[str, ...], view: str = "") -> None:
        """Every attack of `attacks` at every threat that it is for."""
        work = self._work(attacks)
        for number, (name, threat) in enumerate(work):
            self.progress(f"{ROWS[name].title} at {threat.label}", number, len(work))
            self.one(name, threat, self._rows(name, threat), view)
        self.progress("attacks", len(work), len(work))

    def one(
        self, name: str, threat: Threat, rows: np.ndarray, view: str = "", harder: int = 1
    ) -> Measured | None:
        """One attack on some images, entered into the ledger; None for no image. harder: times the usual steps."""
        if not len(rows):
            self.tallies.append(Tally(name, view, threat, 0, 0, 0, int(self.left(threat).sum())))
            return None
        effort = ROWS[name]
        steps, attempts = effort.spends(self.settings)
        reach = FARTHEST[threat.norm] if effort.minimal else threat
        pictures = threat == self.main
        spends = (
            steps * harder,
            min(attempts, self.items.sample.classes - 1) if name == "apgd_t" else attempts,
        )
        measured = self.items.attacked(name, reach, rows, spends, view, pictures)
        if effort.knowledge == "transfer":  # what is tried is always the image after the last step
            measured = replace(measured, step=np.full_like(measured.step, spends[0]))
        self.enter(name, threat, rows, measured, view)
        if effort.everywhere and not view:
            self.measured[name, threat] = measured
        return measured

    def enter(self, name: str, threat: Threat, rows: np.ndarray, measured: Measured, view: str = "") -> None:
        """Into the ledger: what the attack broke, and how far it had to go."""
        found, label = self.found[threat.norm], f"{name} ({view})" if view else name
        nearer = measured.size < found.size[rows]
        chosen = rows[nearer]
        found.size[chosen] = measured.size[nearer]
        found.by[chosen] = label
        found.step[chosen], found.attempt[chosen] = measured.step[nearer], measured.attempt[nearer]
        within = measured.size <= reach(threat, self.items.clean.images[0].size)
        self.broken[threat][rows] |= within
        for at in self._counts_at(name, threat):
            hits = self.hits.setdefault((name, at), np.zeros(len(found.size), bool))
            hits[rows] |= measured.size <= reach(at, self.items.clean.images[0].size)
        if (measured.faults > 0).any():
            self.faulty.append((label, threat, measured.faults))
            self.suspect[rows[measured.faults > 0]] = True
        if len(measured.attacked) and not ROWS[name].minimal:
            self._picture(rows, measured)
        self.tallies.append(
            Tally(
                name,
                view,
                threat,
                len(rows),
                int((within & self.items.clean.right[rows]).sum()),
                int(measured.looks.sum()),
                int(self.left(threat).sum()),
            )
        )

    def count(self, label: str, rows: np.ndarray, images: np.ndarray, wrong: np.ndarray) -> None:
        """Into the ledger of every norm: wrong answers that were found beside the attacks of the settings.

        rows: int [M]. images: float32 [M, H, W, C], 0..1. wrong: bool [M], answered wrong, and right when clean.
        """
        clean = self.items.clean.images[rows]
        for norm, found in self.found.items():
            size = perturbation_size(clean, images, norm)
            nearer = wrong & (size < found.size[rows])
            chosen = rows[nearer]
            found.size[chosen], found.by[chosen] = size[nearer], label
            found.step[chosen] = found.attempt[chosen] = 0

    def left(self, threat: Threat) -> np.ndarray:
        """bool [N]: right when clean, and nothing that breaks it is known inside the ball of `threat`."""
        near = self.found[threat.norm].size <= reach(threat, self.items.clean.images[0].size)
        broken = self.broken.get(threat, np.zeros(len(near), bool))
        left: np.ndarray = self.items.clean.right & ~broken & ~near
        return left

    def _counts_at(self, name: str, threat: Threat) -> list[Threat]:
        """The nearest images of a minimal-norm attack speak of every threat of their norm."""
        if not ROWS[name].minimal:
            return [threat]
        return [other for other in self.settings.threats if other.norm == threat.norm]

    def _work(self, attacks: tuple[str, ...]) -> list[tuple[str, Threat]]:
        """Cheap attacks at every threat first: what they find spares the dear ones."""
        settings = self.settings
        threats = sorted(settings.threats, key=lambda threat: (threat.norm, threat.epsilon))
        full = [threat for threat in threats if settings.is_full(threat)]
        work = [(name, threat) for threat in threats for name in attacks if ROWS[name].everywhere]
        for norm in self.found:
            largest = [threat for threat in threats if threat.norm == norm][-1:]
            work += [(name, threat) for name in attacks if ROWS[name].minimal for threat in largest]
        dear = [name for name in attacks if not ROWS[name].everywhere and not ROWS[name].minimal]
        return work + [(name, threat) for threat in full for name in dear]

    def _rows(self, name: str, threat: Threat) -> np.ndarray:
        """int [M]: every image for the cheap attacks, every right one for the nearest, what is left for the rest."""
        effort, right = ROWS[name], self.items.clean.right
        if effort.everywhere:
            return np.arange(len(right))
        return np.flatnonzero(right if effort.minimal else self.left(threat))

    def _picture(self, rows: np.ndarray, measured: Measured) -> None:
        confidence = np.where(
            measured.wrong & (measured.faults == 0), softmax(measured.logits).max(axis=1), -1.0
        )
        confidence = np.where(np.isfinite(confidence) & self.items.clean.right[rows], confidence, -1.0)
        surer = confidence > self.worst.confidence[rows]
        chosen = rows[surer]
        self.worst.attacked[chosen] = measured.attacked[surer]
        self.worst.logits[chosen] = measured.logits[surer]
        self.worst.confidence[chosen] = confidence[surer]


def reach(threat: Threat, pixels: int) -> float:
    """How far a change of this threat may go, with the rounding of float32."""
    return threat.epsilon + ROUNDING * (1.0 if threat.norm == "linf" else float(np.sqrt(pixels)))
