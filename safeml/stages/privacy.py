"""The stage *privacy*: whether the model's outputs reveal which images it was trained on."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from safeml.results import Alarm, Finite, Gate
from safeml.settings.base import Settings
from safeml.stages.base import CLASSES, NO_AUTHORITY, Declared, Stage, StageTable, at_most

# The attacks, in the order of the report.
THRESHOLD, ART, LIRA = "threshold", "art", "lira"
# Independent images or sign tracks that each part of the members and of the non-members needs. With fewer, even no hit at all
# leaves an advantage of 10 % possible.
LEAST_SIGNS = 36
# Share of the images into which the control plants a leak, and the measured advantage below which an attack failed its control.
PLANTED, LEAST_CONTROL = 0.3, 0.15
POOLED = "pooled"


class ShadowRecipe(Settings):
    """The training of the shadow models; by default the recipe in the `training.json` of the model.

    architecture: of the shadow models.
    width: channels of the first layer.
    epochs: passes over their half of the training signs.
    batch: images per step.
    learning_rate: highest, after the warm-up.
    weight_decay: of AdamW.
    augment: change the training images as the default recipe does.
    """

    architecture: Literal["lenet", "safeml_cnn", "resnet18", "mobilenet_v2", "efficientnet", "vit"]
    width: int = Field(default=16, ge=4, le=512)
    epochs: int = Field(default=20, ge=1, le=1000)
    batch: int = Field(default=128, ge=1, le=4096)
    learning_rate: Finite = Field(default=2e-3, gt=0, le=1)
    weight_decay: Finite = Field(default=0.0, ge=0, lt=1)
    augment: bool = True


class PrivacySettings(StageTable):
    """Settings of the stage.

    images: most members that are evaluated, and most non-members; as many again calibrate the attacks. Whole sign tracks.
    non_members: images that the model was not trained on: "test", or "valid", on which its checkpoint was chosen.
    art: run the black-box attack of the Adversarial Robustness Toolbox.
    art_images: most members, and most non-members, that this attack is fitted on.
    bootstrap: resamples for the intervals of AUC and true positive rates.
    shadows: number of shadow models of the likelihood-ratio attack (LiRA), an even number from 4 on; each is a training on
        half of the training signs. 0 for none.
    recipe: how they are trained; by default as the model was, by its `training.json`.
    epochs: in place of those of the recipe; 0 to keep them.
    """

    images: int = Field(default=10_000, ge=1, le=1_000_000)
    non_members: Literal["test", "valid"] = "test"
    art: bool = True
    art_images: int = Field(default=3000, ge=1, le=1_000_000)
    bootstrap: int = Field(default=400, ge=100, le=100_000)
    shadows: int = Field(default=0, ge=0, le=256)
    recipe: ShadowRecipe | None = None
    epochs: int = Field(default=0, ge=0, le=1000)

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.shadows % 2 or self.shadows == 2:
            raise ValueError(
                f"shadows is {self.shadows}; expected 0 or an even number from 4 on, because each image is outside the training of half of them"
            )
        return self

    @property
    def attacks(self) -> tuple[str, ...]:
        """Return the names of the attacks that run."""
        return (THRESHOLD, *((ART,) if self.art else ()), *((LIRA,) if self.shadows else ()))


SPEAKS = "membership_advantage has the strongest attack"
SHIFT = "it describes the data and not the model"
BY_SIGN = "few test sets name the frames of a sign track"


def _records(settings: PrivacySettings) -> tuple[Declared, ...]:
    attacks = settings.attacks
    control = tuple(name for name in attacks if name != LIRA)
    return (
        Declared("membership_advantage", "down", -1.0, 1.0, ("all", *attacks)),
        Declared("membership_auc", "down", slices=attacks, context=SPEAKS),
        Declared("membership_tpr_1", "down", slices=attacks),
        Declared(
            "membership_tpr_01", "down", slices=attacks, context="membership_tpr_1 needs fewer sign tracks"
        ),
        Declared("membership_class_advantage", "down", -1.0, 1.0, (CLASSES, POOLED), context=SPEAKS),
        Declared("sign_membership_advantage", "down", -1.0, 1.0, context=BY_SIGN),
        Declared("sign_membership_auc", "down", context=BY_SIGN),
        Declared("membership_control", slices=control),
        Declared("blind_auc", "down", context=SHIFT),
        Declared("membership_auc_over_blind", "down", -1.0, 1.0, context=SPEAKS),
    )


GATES = (
    Gate(
        id="membership-advantage",
        title="Advantage of the strongest membership attack",
        stage="privacy",
        metric="membership_advantage",
        op="<=",
        threshold=0.10,
        rationale="A larger advantage means that the outputs reveal training images, and that the model memorised some of them. "
        f"{NO_AUTHORITY}",
    ),
)


def _alarms(settings: PrivacySettings) -> tuple[Alarm, ...]:
    return (
        Alarm(
            metric="membership_advantage",
            direction="down",
            level=0.2,
            sentence="The outputs of the model reveal which images it was trained on.",
        ),
        Alarm(
            metric="membership_tpr_1",
            slices=list(settings.attacks),
            direction="down",
            level=0.05,
            sentence="Of the training images, an attack names more than 5 % with almost no false accusation.",
        ),
        Alarm(
            metric="membership_control",
            slices=[name for name in settings.attacks if name != LIRA],
            level=LEAST_CONTROL,
            sentence="The attack misses a planted leak, so its failure on the model is no evidence of privacy.",
            control=True,
        ),
    )


PRIVACY = Stage(
    name="privacy",
    title="Privacy",
    summary="membership inference: advantage, AUC and TPR at 1 % FPR of threshold, black-box and shadow-model attacks, by class and "
    "by sign, beside a baseline that never asks the model",
    settings=PrivacySettings,
    run="safeml.audits.privacy.run:run",
    records=_records,
    gates=GATES,
    alarms=_alarms,
    quick=lambda settings, gated: at_most(settings, images=4000, art_images=500, bootstrap=100, shadows=0),
    needs=("manifest",),
    perfect="safeml.audits.privacy.perfect:PERFECT",
)
