"""Run all attacks of an audit in order and record each adversarial example. Legend: N images, H W C pixels.

FGSM and PGD run on every image at every threat. Only the survivors are passed on, in full batches, to the expensive attacks,
at the threats of the full ensemble. An adversarial example at distance d counts at every epsilon >= d of its norm. Robust
accuracy therefore never rises with epsilon, and a single run yields the full robustness curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np

from safeml.attacks.rows import ROWS
from safeml.audits.adversarial.items import Items
from safeml.audits.adversarial.measure import ROUNDING, Measured
from safeml.audits.adversarial.spending import (
    BROKE_BY_QUERIES,
    BROKE_DRAWN,
    LEAST_DRAWN,
    Saving,
    drawn_at_random,
    sample_size,
    verdict_can_change,
)
from safeml.audits.slices import numbers
from safeml.metrics.classification import softmax
from safeml.metrics.perturbation import perturbation_size
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

# The search radius of minimal-norm attacks: the whole pixel range, or 7/255 at every pixel of the largest picture.
FARTHEST = {"linf": Threat(norm="linf", epsilon=1.0), "l2": Threat(norm="l2", epsilon=50.0)}
NO_ATTACK = ""


@dataclass(eq=False)
class NearestAdversarial:
    """The nearest known adversarial example of each image, in one norm.

    size: float64 [N], pixel units; infinite where none is known, 0 where the clean image is misclassified.
    by: object [N], the attack (and view), or "".
    step: int64 [N], as in `AttackOutcome`.
    attempt: int64 [N], as in `AttackOutcome`.
    """

    size: np.ndarray
    by: np.ndarray
    step: np.ndarray
    attempt: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray) -> NearestAdversarial:
        """Start with no adversarial example. right: bool [N], classified correctly when clean."""
        nothing = np.zeros(len(right), np.int64)
        return cls(
            np.where(right, np.inf, 0.0), np.full(len(right), NO_ATTACK, object), nothing, nothing.copy()
        )


@dataclass(frozen=True)
class AttackRecord:
    """The result of one attack at one threat.

    attack: its name in `ROWS`.
    view: the view of the model that it was given; "" is the model itself.
    threat: the bound of the change.
    images: number of images attacked.
    broken: number of these that were classified correctly when clean and have an adversarial example.
    evaluations: gradients or queries that it spent.
    survivors: images of the sample that survive this attack and all before it.
    """

    attack: str
    view: str
    threat: Threat
    images: int
    broken: int
    evaluations: int
    survivors: int


@dataclass(eq=False)
class MostConfident:
    """The adversarial example with the highest confidence of each image, at the main threat.

    attacked: float32 [N, H, W, C], 0..1.
    logits: float32 [N, K].
    confidence: float64 [N], -1 where there is none.
    """

    attacked: np.ndarray
    logits: np.ndarray
    confidence: np.ndarray


@dataclass(eq=False)
class Campaign:
    """Run attacks on one sample and keep their results. Call `run` once.

    progress: called with a title, the number of attacks done and their total.
    blind: the model gives no gradient, so the survivors are no worst case.
    nearest: the nearest adversarial examples by norm.
    broken: bool [N] by threat, broken by an attack at exactly that threat.
    measured: results of the attacks that ran on every image of the sample.
    records: one for each attack and threat, in order.
    hits: bool [N] by attack and threat, broken by that attack.
    faulty: attacks that returned invalid images, with their faults.
    savings: what `spend = "where_it_counts"` left out, by threat.
    """

    items: Items
    settings: AdversarialSettings
    main: Threat
    progress: Callable[[str, int, int], None]
    blind: bool = False
    nearest: dict[str, NearestAdversarial] = field(default_factory=dict)
    broken: dict[Threat, np.ndarray] = field(default_factory=dict)
    measured: dict[tuple[str, Threat], Measured] = field(default_factory=dict)
    records: list[AttackRecord] = field(default_factory=list)
    hits: dict[tuple[str, Threat], np.ndarray] = field(default_factory=dict)
    faulty: list[tuple[str, Threat, np.ndarray]] = field(default_factory=list)
    savings: dict[Threat, Saving] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean = self.items.clean
        for threat in self.settings.threats:
            self.nearest.setdefault(threat.norm, NearestAdversarial.of(clean.right))
            self.broken[threat] = ~clean.right
        count = len(clean.labels)
        self.suspect = np.zeros(count, bool)  # images that count as broken because an attack was faulty
        self.most_confident = MostConfident(clean.images.copy(), clean.logits.copy(), np.full(count, -1.0))

    def run(self, attacks: tuple[str, ...], view: str = "") -> None:
        """Run each attack of `attacks` at every threat that it covers."""
        work = self._work(attacks)
        done = 0

        def tell(name: str, threat: Threat) -> None:
            nonlocal done
            self.progress(f"{ROWS[name].title} at {threat.label}", done, len(work))
            done += 1

        for name, threat in work:
            if ROWS[name].every_threat:
                tell(name, threat)
                self.attack(name, threat, self._rows(name, threat), view)
        for threat in dict.fromkeys(threat for name, threat in work if not ROWS[name].every_threat):
            names = [name for name, at in work if at == threat and not ROWS[name].every_threat]
            early = list(takewhile(lambda name: ROWS[name].short is None, names))
            for name in early:
                tell(name, threat)
                self.attack(name, threat, self._rows(name, threat), view)
            self._attack_survivors(threat, names[len(early) :], view, tell)
        self.progress("attacks", len(work), len(work))

    def _attack_survivors(
        self, threat: Threat, names: list[str], view: str, tell: Callable[[str, Threat], None]
    ) -> None:
        """Run the attacks that may be spared: on all survivors, or where it counts if more survive than are drawn."""
        survivors = self.survivors(threat)
        spares = self.settings.spend == "where_it_counts" and not self.blind
        if spares and survivors.sum() > LEAST_DRAWN:
            self._spend_where_it_counts(threat, names, tell)
            return
        if spares:
            count = int(survivors.sum())
            self.savings[threat] = Saving(count, 0, count, np.zeros(len(survivors), bool))
        for name in names:
            tell(name, threat)
            self.attack(name, threat, self._rows(name, threat), view)

    def attack(
        self,
        name: str,
        threat: Threat,
        rows: np.ndarray,
        view: str = "",
        harder: int = 1,
        first: int = 0,
        last: int | None = None,
    ) -> Measured | None:
        """Run one attack on the images in `rows` (int [M]) and record it; None for no image.

        harder: factor on the usual number of steps.
        first, last: the attempts first..last-1 alone; default all.
        """
        if not len(rows):
            self.records.append(AttackRecord(name, view, threat, 0, 0, 0, int(self.survivors(threat).sum())))
            return None
        row = ROWS[name]
        steps, attempts = row.effort(self.settings)
        within = FARTHEST[threat.norm] if row.minimal else threat
        pictures = threat == self.main
        most = min(attempts, self.items.sample.classes - 1) if row.targeted else attempts
        effort = (steps * harder, most if last is None else min(last, most))
        if first >= effort[1]:
            return None
        nearest_first = row.targeted and (first > 0 or last is not None)
        measured = self.items.attacked(name, within, rows, effort, view, pictures, first, nearest_first)
        if row.knowledge == "transfer":  # the model is always given the image after the last step
            measured = replace(measured, step=np.full_like(measured.step, effort[0]))
        self.record(name, threat, rows, measured, view)
        if row.everywhere and not view:
            self.measured[name, threat] = measured
        return measured

    def record(self, name: str, threat: Threat, rows: np.ndarray, measured: Measured, view: str = "") -> None:
        """Record the adversarial examples of an attack and their distances. rows: int [M]."""
        nearest, label = self.nearest[threat.norm], f"{name} ({view})" if view else name
        nearer = measured.size < nearest.size[rows]
        changed = rows[nearer]
        nearest.size[changed] = measured.size[nearer]
        nearest.by[changed] = label
        nearest.step[changed], nearest.attempt[changed] = measured.step[nearer], measured.attempt[nearer]
        within = measured.size <= reach(threat, self.items.clean.images[0].size)
        self.broken[threat][rows] |= within
        for at in self._counts_at(name, threat):
            hits = self.hits.setdefault((name, at), np.zeros(len(nearest.size), bool))
            hits[rows] |= measured.size <= reach(at, self.items.clean.images[0].size)
        if (measured.faults > 0).any():
            self.faulty.append((label, threat, measured.faults))
            self.suspect[rows[measured.faults > 0]] = True
        if len(measured.attacked) and not ROWS[name].minimal:
            self._picture(rows, measured)
        self.records.append(
            AttackRecord(
                name,
                view,
                threat,
                len(rows),
                int((within & self.items.clean.right[rows]).sum()),
                int(measured.evaluations.sum()),
                int(self.survivors(threat).sum()),
            )
        )

    def record_images(self, label: str, rows: np.ndarray, images: np.ndarray, wrong: np.ndarray) -> None:
        """Record, for every norm, adversarial examples that no attack of the settings made.

        rows: int [M].
        images: float32 [M, H, W, C], 0..1.
        wrong: bool [M], misclassified, and classified correctly when clean.
        """
        clean = self.items.clean.images[rows]
        for norm, nearest in self.nearest.items():
            size = perturbation_size(clean, images, norm)
            nearer = wrong & (size < nearest.size[rows])
            changed = rows[nearer]
            nearest.size[changed], nearest.by[changed] = size[nearer], label
            nearest.step[changed] = nearest.attempt[changed] = 0

    def survivors(self, threat: Threat) -> np.ndarray:
        """Return bool [N]: classified correctly when clean, and no adversarial example is known in the ball of `threat`."""
        near = self.nearest[threat.norm].size <= reach(threat, self.items.clean.images[0].size)
        broken = self.broken.get(threat, np.zeros(len(near), bool))
        survivors: np.ndarray = self.items.clean.right & ~broken & ~near
        return survivors

    def _spend_where_it_counts(
        self, threat: Threat, names: list[str], tell: Callable[[str, Threat], None]
    ) -> None:
        """Give the full bill to the survivors whose verdict can change and to a random sample of the others; see `spending`."""
        moving = np.zeros(len(self.suspect), np.float32)
        for name in names:
            tell(name, threat)
            short, rows = ROWS[name].short, self._rows(name, threat)
            last = None if short is None else short(self.settings)
            measured = None if last == 0 else self.attack(name, threat, rows, last=last)
            if last and measured is not None:
                moving[rows] = measured.unconverged
        rows = np.flatnonzero(self.survivors(threat))
        distances = self.nearest[threat.norm].size[rows]
        near = verdict_can_change(distances, threat.epsilon, moving[rows])
        ids, seed = numbers(self.items.sample), self.items.inputs.seed
        drawn = drawn_at_random(rows[~near], ids, seed, sample_size(len(rows)))
        spared = np.zeros(len(self.suspect), bool)
        spared[rows[~near]] = True
        spared[drawn] = False
        self.savings[threat] = Saving(len(rows), int(near.sum()), len(drawn), spared)
        gradients = [name for name in names if ROWS[name].gradient]
        queries = [name for name in names if not ROWS[name].gradient]
        full = np.sort(np.concatenate([rows[near], drawn]))
        self._rest(threat, gradients, full)
        before = self.survivors(threat)
        self._rest(threat, queries, full)
        after = self.survivors(threat)
        if not after[drawn].all():
            self.pay_in_full(threat, BROKE_DRAWN)
        elif (before & ~after).any():
            self.pay_in_full(threat, BROKE_BY_QUERIES)

    def savings_at(self, threat: Threat) -> list[Saving]:
        """Return the savings that robust accuracy at a threat depends on: an example at a smaller epsilon counts there too."""
        return [
            saving
            for at, saving in self.savings.items()
            if at.norm == threat.norm and at.epsilon <= threat.epsilon
        ]

    def pay_in_full(self, threat: Threat, why: str) -> None:
        """Give the images that were spared at a threat the full bill as well."""
        saving = self.savings.get(threat)
        if saving is None or not saving.count:
            return
        names = [name for name in self.settings.attacks if not ROWS[name].every_threat]
        spared = saving.spared
        for name in names:
            self._rest(threat, [name], np.flatnonzero(spared & self.survivors(threat)))
        self.savings[threat] = saving.paid(why)

    def _rest(self, threat: Threat, names: list[str], rows: np.ndarray) -> None:
        """Run the attempts of `names` that a survivor has not had; each attack gets the survivors of those before it."""
        for name in names:
            short = ROWS[name].short
            if short is not None and threat.norm in ROWS[name].norms:
                rows = rows[self.survivors(threat)[rows]]
                self.attack(name, threat, rows, first=short(self.settings))

    def _counts_at(self, name: str, threat: Threat) -> list[Threat]:
        """Return the threats at which a result counts: all of its norm for a minimal-norm attack."""
        if not ROWS[name].minimal:
            return [threat]
        return [other for other in self.settings.threats if other.norm == threat.norm]

    def _work(self, attacks: tuple[str, ...]) -> list[tuple[str, Threat]]:
        """Order attacks and threats: fast attacks at every threat first, so that the expensive ones get fewer images."""
        settings = self.settings
        threats = sorted(settings.threats, key=lambda threat: (threat.norm, threat.epsilon))
        full = [threat for threat in threats if settings.is_full(threat)]
        work = [(name, threat) for threat in threats for name in attacks if ROWS[name].everywhere]
        for norm in self.nearest:
            largest = [threat for threat in threats if threat.norm == norm][-1:]
            minimal = [name for name in attacks if ROWS[name].minimal and norm in ROWS[name].norms]
            work += [(name, threat) for name in minimal for threat in largest]
        expensive = [name for name in attacks if not ROWS[name].everywhere and not ROWS[name].minimal]
        return work + [
            (name, threat) for threat in full for name in expensive if threat.norm in ROWS[name].norms
        ]

    def _rows(self, name: str, threat: Threat) -> np.ndarray:
        """Return int [M]: all images for fast attacks, the correctly classified for minimal-norm attacks, else the survivors."""
        row, right = ROWS[name], self.items.clean.right
        if row.everywhere:
            return np.arange(len(right))
        return np.flatnonzero(right if row.minimal else self.survivors(threat))

    def _picture(self, rows: np.ndarray, measured: Measured) -> None:
        confidence = np.where(
            measured.wrong & (measured.faults == 0), softmax(measured.logits).max(axis=1), -1.0
        )
        confidence = np.where(np.isfinite(confidence) & self.items.clean.right[rows], confidence, -1.0)
        higher = confidence > self.most_confident.confidence[rows]
        changed = rows[higher]
        self.most_confident.attacked[changed] = measured.attacked[higher]
        self.most_confident.logits[changed] = measured.logits[higher]
        self.most_confident.confidence[changed] = confidence[higher]


def reach(threat: Threat, pixels: int) -> float:
    """Return the largest norm that counts as inside the ball of `threat`: epsilon plus float32 rounding."""
    return threat.epsilon + ROUNDING * (1.0 if threat.norm == "linf" else float(np.sqrt(pixels)))
