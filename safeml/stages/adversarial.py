"""The stage *adversarial robustness*: attacks on the pixels within a norm ball, and certified bounds."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from safeml.attacks.art.registry import art_attack
from safeml.attacks.rows import ATTACK_NAMES, ENSEMBLE, FEWEST, ROWS
from safeml.errors import ConfigError
from safeml.results import Alarm, Finite, Gate
from safeml.settings.errors import suggest
from safeml.settings.model import SurrogateSettings
from safeml.stages.base import HALF, NO_AUTHORITY, TARGETS, Declared, Stage, StageTable, at_most, count
from safeml.threats import Threat, outside_range, threat_words

MAIN_THREAT = "linf_4"
REGRESSION = "[[data.targets]]"
NO_BOUND = "the largest error of a sample, which bounds no other image; gate worst_error_p95"


def _known_attack(name: str) -> str:
    if name not in ATTACK_NAMES:
        raise ValueError(f'there is no attack "{name}"{suggest(name, list(ATTACK_NAMES))}')
    return name


AttackName = Annotated[str, AfterValidator(_known_attack)]


class AdversarialSettings(StageTable):
    """Settings of the attacks and certificates.

    images: number of attacked test images.
    attacks: in running order; each receives the survivors of the attacks before it.
    threats: an image is robust at a threat if no adversarial example within its epsilon is known.
    full_ensemble: labels of the threats at which all attacks run, empty for all threats; at the others only FGSM, PGD,
            FMN and, in L2, DDN run. A gate may read only results of the full ensemble.
    steps, restarts: of PGD.
    apgd_steps, targets: of APGD.
    fmn_steps: of FMN.
    ddn_steps: of DDN, which runs in L2 only.
    queries: of Square (AutoAttack spends 5,000).
    spend: "full": every survivor gets every attempt and query; "where_it_counts": further target classes and queries only where
            a verdict can change, and on a random sample; intervals count what that can hide (docs/stages/adversarial.md).
    batch: images per batch, or "auto" for the fastest on this machine; it changes only speed.
    breadth: attacks of the Adversarial Robustness Toolbox by name.
    breadth_images, breadth_seconds: number of images for each of these attacks, and its time limit in seconds.
    certify: prove a lower bound by interval bounds where possible.
    smoothed_images: number of images certified by randomised smoothing; 0 for none.
    smoothing_sigma, smoothing_samples: standard deviation of its noise in pixel units of 0..1, and its predictions per image.
    surrogate: another model of the same task, whose adversarial examples are tried on the model under test, at the threats
            of the full ensemble and with as many steps as PGD; without it, transfer attacks are not tested.
    """

    images: int = Field(default=1000, ge=1, le=1_000_000)
    attacks: tuple[AttackName, ...] = Field(default=ATTACK_NAMES, min_length=1)
    full_ensemble: tuple[str, ...] = ()
    steps: int = Field(default=20, ge=1, le=10_000)
    restarts: int = Field(default=1, ge=1, le=100)
    apgd_steps: int = Field(default=100, ge=5, le=10_000)
    targets: int = Field(default=9, ge=1, le=1000)
    fmn_steps: int = Field(default=100, ge=5, le=10_000)
    ddn_steps: int = Field(default=100, ge=5, le=10_000)
    queries: int = Field(default=1000, ge=1, le=1_000_000)
    spend: Literal["full", "where_it_counts"] = "full"
    batch: Annotated[int, Field(ge=1, le=8192)] | Literal["auto"] = 64
    breadth: tuple[str, ...] = ()
    breadth_images: int = Field(default=32, ge=1, le=100_000)
    breadth_seconds: Finite = Field(default=60.0, gt=0, le=86_400)
    certify: bool = True
    smoothed_images: int = Field(default=0, ge=0, le=100_000)
    smoothing_sigma: Finite = Field(default=0.12, gt=0, le=2)
    smoothing_samples: int = Field(default=1000, ge=100, le=10_000_000)
    surrogate: SurrogateSettings | None = None
    threats: tuple[Threat, ...] = (
        Threat(norm="linf", epsilon=1 / 255),
        Threat(norm="linf", epsilon=2 / 255),
        Threat(norm="linf", epsilon=4 / 255),
        Threat(norm="linf", epsilon=8 / 255),
        Threat(norm="l2", epsilon=0.25),
        Threat(norm="l2", epsilon=0.5),
    )

    def is_full(self, threat: Threat) -> bool:
        """Return whether all attacks run at a threat."""
        return not self.full_ensemble or threat.label in self.full_ensemble

    @property
    def main(self) -> Threat:
        """Return the threat of the headline and the masking checks: L-inf 4/255, else the largest of its norm with all attacks."""
        full = [threat for threat in self.threats if self.is_full(threat)]
        same = [threat for threat in full if threat.norm == full[0].norm]
        usual = next((threat for threat in full if threat.label == MAIN_THREAT), None)
        return usual or max(same, key=lambda threat: threat.epsilon)

    @model_validator(mode="after")
    def _threats_differ(self) -> Self:
        labels = [threat.label for threat in self.threats]
        if not labels or len(set(labels)) != len(labels):
            raise ValueError("threats are empty or repeat; give each norm and epsilon once")
        if len(set(self.attacks)) != len(self.attacks):
            raise ValueError("attacks repeat; name each once, and use restarts to run it more often")
        if len(set(self.breadth)) != len(self.breadth):
            raise ValueError("breadth repeats; name each attack once")
        for label in self.full_ensemble:
            if label not in labels:
                raise ValueError(
                    f'full_ensemble names "{label}", which is not among the threats: {", ".join(labels)}'
                )
        for name in self.breadth:
            try:
                art_attack(name, self.main)
            except ConfigError as error:
                raise ValueError(f"breadth: {str(error).rstrip('.')}") from None
        for threat in self.threats:
            if problem := outside_range(threat):
                raise ValueError(problem)
        return self


ALONE = "the result of a single attack; use the worst case, {}"
PARTLY = 'attacked by only a part of the ensemble; add "{}" to full_ensemble in [stages.adversarial]'
BOUND = "a lower bound, far below the measured accuracy of ordinary networks"
COPY = "the success of one surrogate, which may be weak; use the worst case, {}"


def _records(settings: AdversarialSettings) -> tuple[Declared, ...]:
    """Declare a metric for each threat, and for each attack that runs at it; the success rate at the main threat only."""
    weak, main = _weak_attacks(settings), settings.main.label
    alarmed = _alarmed(settings)
    rows = [
        Declared("clean_accuracy_attacked_sample", context="clean_accuracy has all images", paired=True),
        Declared(
            f"attack_success_rate.{main}",
            "down",
            weak=weak,
            context=f"robust_accuracy.{main} has the same attacks",
        ),
    ]
    if settings.surrogate is not None:
        copy = COPY.format(f"robust_accuracy.{main}")
        rows.append(Declared(f"transfer_success.{main}", "down", weak=copy, context=copy))
    for threat in settings.threats:
        name = f"robust_accuracy.{threat.label}"
        weaker = weak if settings.is_full(threat) else PARTLY.format(threat.label)
        context = "" if threat in alarmed else "another threat of its norm speaks for it"
        rows.append(Declared(name, weak=weaker, context=context, paired=True))
        rows += [
            Declared(f"{name}.{attack}", weak=ALONE.format(name), context=ALONE.format(name))
            for attack in settings.attacks
            if threat.norm in ROWS[attack].norms and (ROWS[attack].every_threat or settings.is_full(threat))
        ]
        if settings.certify and threat.norm == "linf":
            rows.append(Declared(f"certified_accuracy.{threat.label}", context=BOUND))
        if settings.smoothed_images and threat.norm == "l2":
            rows.append(Declared(f"smoothed_accuracy.{threat.label}", context=BOUND))
    rows += [row for threat in settings.threats for row in _errors(threat, weak)]
    return (*rows, count("masking_flags", weak=weak))


def _errors(threat: Threat, weak: str) -> list[Declared]:
    """Declare the largest errors of a regression model that were found within a threat, in the unit of each target."""
    context = f"robust_accuracy.{threat.label} counts the errors beyond your tolerance"
    slices = ("all", TARGETS)
    return [
        Declared(
            f"{name}.{threat.label}",
            "down",
            0.0,
            math.inf,
            slices,
            weak=why,
            context=context,
            plain=True,
            requires=REGRESSION,
        )
        for name, why in (("worst_mae", weak), ("worst_error_p95", weak), ("worst_error_max", NO_BOUND))
    ]


def _alarmed(settings: AdversarialSettings) -> list[Threat]:
    """Return the main threat, and the smallest epsilon of each other norm: robust accuracy falls as epsilon grows."""
    others = {threat.norm for threat in settings.threats} - {settings.main.norm}
    smallest = [
        min((threat for threat in settings.threats if threat.norm == norm), key=lambda threat: threat.epsilon)
        for norm in sorted(others)
    ]
    return [settings.main, *smallest]


def _alarms(settings: AdversarialSettings) -> tuple[Alarm, ...]:
    masked = Alarm(
        metric="masking_flags",
        direction="down",
        level=0,
        sentence="The attacks may have failed because the model hides its gradient, so the robust accuracy may be overestimated.",
    )
    return masked, *(
        Alarm(
            metric=f"robust_accuracy.{threat.label}",
            level=HALF,
            sentence=f"Attacks within {threat_words(threat)} change most predictions.",
        )
        for threat in _alarmed(settings)
    )


def _weak_attacks(settings: AdversarialSettings) -> str:
    """Return why no gate may read the result of these attacks: a partial ensemble overestimates robustness."""
    missing = [name for name in ENSEMBLE if name not in settings.attacks]
    if missing:
        return f"attacked without {', '.join(missing)}; add to attacks in [stages.adversarial]"
    for key, least in FEWEST.items():
        if getattr(settings, key) < least:
            return f"attacked with {key} = {getattr(settings, key)}; set it in [stages.adversarial] to {least} or more"
    return ""


QUICK_THREATS = ("linf_1", "linf_4", "l2_0.5")


def _quick(settings: AdversarialSettings, gated: frozenset[str]) -> AdversarialSettings:
    """Reduce images and steps, and the threats to those of a gate and a few more."""
    names = " ".join(sorted(gated))
    threats = tuple(
        threat
        for threat in settings.threats
        if threat.label in QUICK_THREATS or threat.label in names or threat == settings.main
    )
    full = tuple(threat.label for threat in threats if settings.is_full(threat) and threat.label in names)
    few = at_most(
        settings,
        images=256,
        steps=10,
        apgd_steps=20,
        targets=3,
        fmn_steps=30,
        ddn_steps=30,
        queries=200,
        breadth_images=8,
        smoothed_images=16,
    )
    return few.model_copy(update={"threats": threats, "full_ensemble": full or (settings.main.label,)})


ADVERSARIAL = Stage(
    name="adversarial",
    title="Adversarial robustness",
    summary="FGSM, PGD, FMN, DDN, APGD-PM, APGD-CE, APGD-T and Square, L-inf and L2, worst case per image with its ledger and curve; "
    "thirteen gradient-masking checks; transfer from a surrogate, with a fourteenth; ART's attacks by name; certified lower bound",
    settings=AdversarialSettings,
    run="safeml.audits.adversarial.run:run",
    records=_records,
    gates=(
        Gate(
            id="robust-linf-4",
            title="Accuracy under the worst attack, L-inf 4/255",
            stage="adversarial",
            metric="robust_accuracy.linf_4",
            op=">=",
            threshold=0.60,
            rationale=f"The usual threat model for small images. {NO_AUTHORITY}",
        ),
        Gate(
            id="gradient-masking",
            title="Failed gradient-masking checks",
            stage="adversarial",
            metric="masking_flags",
            op="==",
            threshold=0,
            rationale="A model that hides its gradient looks robust and is not (Carlini et al., 2019).",
        ),
    ),
    alarms=_alarms,
    standard=lambda settings, gated: at_most(settings, images=400, breadth_images=16, smoothed_images=64),
    quick=_quick,
    images=lambda settings: settings.images,
    needs=("surrogate",),
    heads=("classification", "regression"),
    perfect="safeml.audits.adversarial.perfect:PERFECT",
)
