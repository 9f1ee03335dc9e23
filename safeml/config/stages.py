"""The tables `[stages.NAME]` of `safeml.toml`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safeml.config.base import Epsilon, Settings
from safeml.config.model import SurrogateSettings
from safeml.config.physical import PhysicalSettings
from safeml.errors import ConfigError
from safeml.results import Finite


class Threat(Settings):
    """A threat model: every perturbation of the pixels (0..1) whose norm is at most epsilon."""

    norm: Literal["linf", "l2"]
    epsilon: Epsilon

    @model_validator(mode="after")
    def _epsilon_in_pixel_units(self) -> Self:
        if self.epsilon <= 0:
            raise ValueError(
                f"epsilon is {self.epsilon:g}; expected a positive number in pixel units of 0..1"
            )
        if self.norm == "linf" and self.epsilon > 1:
            raise ValueError(
                f'epsilon is {self.epsilon:g}; pixels are 0..1 here, so write "{self.epsilon:g}/255"'
            )
        return self

    @property
    def label(self) -> str:
        """The threat's part of a metric name: `linf_4` (in 1/255) or `l2_0.5`."""
        return f"linf_{self.epsilon * 255:.6g}" if self.norm == "linf" else f"l2_{self.epsilon:.6g}"


class PerformanceSettings(Settings):
    enabled: bool = True
    bootstrap: int = Field(default=1000, ge=100, le=100_000)


class BalanceSettings(Settings):
    enabled: bool = True


class TrainingSettings(Settings):
    """The training stage reports on the manifest that `safeml train` left beside the model."""

    enabled: bool = True


# Least and most epsilon that measures something: a float32 pixel is exact to 6e-8, and an L2 distance of 50 is 7/255 at
# every pixel of the largest picture (1024 x 1024, three channels).
EPSILONS = {"linf": (1e-5, 1.0), "l2": (1e-3, 50.0)}


MAIN_THREAT = "linf_4"
AttackName = Literal["fgsm", "pgd", "fmn", "apgd_ce", "apgd_t", "square"]
ATTACK_NAMES: tuple[AttackName, ...] = ("fgsm", "pgd", "fmn", "apgd_ce", "apgd_t", "square")


class AdversarialSettings(Settings):
    """images: how many of the test images are attacked. attacks: in this order; each gets what the ones before left.

    threats: what is measured; an image is robust at one when nothing that was found lies within it.
    full_ensemble: labels of the threats at which all attacks are run, or none of them for all; at the others FGSM,
        PGD and FMN alone are run, and what is found elsewhere counts where it fits. A gate may read only what the full ensemble measured.
    steps, restarts: of PGD. apgd_steps, targets: of APGD. fmn_steps: of FMN. queries: of Square (AutoAttack spends 5,000).
    batch: images at a time, or "auto": what is fastest on the machine; speed alone.
    breadth: attacks of the Adversarial Robustness Toolbox by name, on breadth_images images, for breadth_seconds each.
    certify: prove a lower bound where that is possible, by interval bounds; and by smoothing on smoothed_images images,
        with noise of smoothing_sigma (pixel units) and smoothing_samples answers each; 0 images for no smoothing.
    surrogate: another model of the same task, on which images are made that are then tried on the model under test, at the
        threats of the full ensemble and with as many steps as PGD; without it, transfer attacks are not tested.
    """

    enabled: bool = True
    images: int = Field(default=1000, ge=1, le=1_000_000)
    attacks: tuple[AttackName, ...] = Field(default=ATTACK_NAMES, min_length=1)
    full_ensemble: tuple[str, ...] = ()
    steps: int = Field(default=20, ge=1, le=10_000)
    restarts: int = Field(default=1, ge=1, le=100)
    apgd_steps: int = Field(default=100, ge=5, le=10_000)
    targets: int = Field(default=9, ge=1, le=1000)
    fmn_steps: int = Field(default=100, ge=5, le=10_000)
    queries: int = Field(default=1000, ge=1, le=1_000_000)
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
        """Whether all attacks are run at a threat."""
        return not self.full_ensemble or threat.label in self.full_ensemble

    @property
    def main(self) -> Threat:
        """What the headline and the checks of the attacks are about: L-inf 4/255, or else the largest of its norm, attacked by all."""
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
            # Its table of names, and why some are refused, needs no framework.
            from safeml.attacks.art.registry import art_attack

            try:
                art_attack(name, self.main)
            except ConfigError as error:
                raise ValueError(f"breadth: {str(error).rstrip('.')}") from None
        for threat in self.threats:
            least, most = EPSILONS[threat.norm]
            if threat.epsilon < least:
                raise ValueError(
                    f"a threat of norm {threat.norm} has epsilon {threat.epsilon:g}, which rounding alone comes near; "
                    f"expected at least {least:g} in pixel units of 0..1"
                )
            if threat.epsilon > most:
                raise ValueError(
                    f"a threat of norm {threat.norm} has epsilon {threat.epsilon:g}, which leaves nothing of a picture; "
                    f'pixels are 0..1 here, so write "{threat.epsilon:g}/255"'
                )
        return self


class ModelFileSettings(Settings):
    """The model file as it was scanned and opened; disabling the stage hides the page, never the scan."""

    enabled: bool = True


class StageSettings(Settings):
    model: ModelFileSettings = ModelFileSettings()
    training: TrainingSettings = TrainingSettings()
    performance: PerformanceSettings = PerformanceSettings()
    balance: BalanceSettings = BalanceSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    physical: PhysicalSettings = PhysicalSettings()
