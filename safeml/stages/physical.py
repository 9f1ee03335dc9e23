"""The stage *physical threats*: changes of the traffic sign itself, not small changes of every pixel."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from safeml.results import Alarm
from safeml.stages.base import HALF, Declared, Stage, StageTable, at_most

MOST_POINTS = 5000
MOST_CANDIDATES = 5000


def _part_of_the_sign(value: float) -> float:
    if not 0 < value <= 0.5:
        raise ValueError(f"is {value:g}; expected a share of the sign's box, above 0 and at most 0.5")
    return value


def _with_its_middle(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"is {value}; expected an odd number, so that the unchanged image is on the grid")
    return value


Area = Annotated[float, AfterValidator(_part_of_the_sign)]
Points = Annotated[int, Field(ge=1, le=101), AfterValidator(_with_its_middle)]


class PhysicalSettings(StageTable):
    """Settings of the stage; areas are shares of the bounding box of the sign.

    images: number of attacked test images.
    batch: images per gradient batch; it changes only speed.
    sticker_area, graffiti_area, patch_area: of all stickers, of all strokes, and of the printed patch.
    sticker_steps, patch_steps: gradient steps.
    sticker_places: positions along each side of the box.
    shadow_shapes, graffiti_shapes: random shapes tried on each image.
    shadow_factors: share of the light in a shadow.
    rotation_degrees, shift, zoom: largest change each way; the shift as a share of the side, the zoom as a share of the size.
    rotation_points, shift_points, zoom_points: number of values of each on the grid, evenly spaced, with the unchanged one.
    patch_pair: true class and target class of the universal patch.
    """

    images: int = Field(default=200, ge=1, le=100_000)
    sticker_area: Area = 0.05
    sticker_steps: int = Field(default=40, ge=1, le=10_000)
    sticker_places: int = Field(default=5, ge=1, le=20)
    shadow_shapes: int = Field(default=40, ge=1, le=MOST_CANDIDATES)
    shadow_factors: tuple[float, ...] = Field(default=(0.7, 0.43), min_length=1, max_length=20)
    graffiti_shapes: int = Field(default=80, ge=1, le=MOST_CANDIDATES)
    graffiti_area: Area = 0.05
    rotation_degrees: float = Field(default=15.0, ge=0, le=180)
    rotation_points: Points = 7
    shift: float = Field(default=0.0625, ge=0, le=0.5)
    shift_points: Points = 5
    zoom: float = Field(default=0.1, ge=0, le=0.9)
    zoom_points: Points = 3
    patch_pair: tuple[str, str] = ("Stop", "Speed limit (30km/h)")
    patch_area: Area = 0.1
    patch_steps: int = Field(default=200, ge=1, le=100_000)
    batch: int = Field(default=64, ge=1, le=8192)

    @property
    def grid_points(self) -> int:
        """Return the number of transformations on the grid."""
        return self.rotation_points * self.shift_points**2 * self.zoom_points

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if any(not 0 <= factor < 1 for factor in self.shadow_factors):
            raise ValueError(
                "shadow_factors are outside 0-1; expected shares of the light, at least 0 and below 1"
            )
        if len(set(self.shadow_factors)) != len(self.shadow_factors):
            raise ValueError("shadow_factors repeat; give each once")
        if self.shadow_shapes * len(self.shadow_factors) > MOST_CANDIDATES:
            raise ValueError(
                f"shadow_shapes times shadow_factors is more than {MOST_CANDIDATES}; reduce one of them"
            )
        if self.grid_points > MOST_POINTS:
            raise ValueError(
                f"the grid has {self.grid_points} points; expected at most {MOST_POINTS}, so reduce a number of points"
            )
        for name in ("rotation", "shift", "zoom"):
            size = self.rotation_degrees if name == "rotation" else getattr(self, name)
            if (size == 0) != (getattr(self, f"{name}_points") == 1):
                raise ValueError(
                    f"{name} and {name}_points contradict each other; one point means no change, and no change one point"
                )
        if self.patch_pair[0].casefold() == self.patch_pair[1].casefold():
            raise ValueError("patch_pair names one class twice; expected the true class and another one")
        return self


# Threats with one accuracy metric each; `safeml.attacks.signs.registry` has the attacks, and a test compares the names.
THREATS = ("sticker", "shadow", "graffiti", "transform", "worst", "random_view")
MOVED = ("transform", "random_view", "worst")
UNMOVED = "measured without any transformation; set more points and larger ranges in [stages.physical]"


def _records(settings: PhysicalSettings) -> tuple[Declared, ...]:
    moves = settings.grid_points > 1
    return (
        Declared("clean_accuracy_physical_sample", context="clean_accuracy has all images"),
        *(
            Declared(f"physical_accuracy.{threat}", weak=UNMOVED if threat in MOVED and not moves else "")
            for threat in THREATS
        ),
        Declared("universal_patch_success", "down"),
        Declared(
            "universal_patch_success.random", "down", context="universal_patch_success has the trained patch"
        ),
    )


WORST, PATCH = "physical_accuracy.worst", "universal_patch_success"
MEANINGS = {
    "worst": "A sticker, a shadow, graffiti or another view changes the prediction of most traffic signs.",
    "sticker": "One sticker changes the prediction of most traffic signs.",
    "shadow": "A shadow changes the prediction of most traffic signs.",
    "graffiti": "Graffiti changes the prediction of most traffic signs.",
    "transform": "A small rotation, shift or zoom changes the prediction of most traffic signs.",
    "random_view": "A random small rotation, shift or zoom changes most predictions.",
}


def _alarms(settings: PhysicalSettings) -> tuple[Alarm, ...]:
    """Declare an alarm for the worst threat, for each threat where the worst is not measured, and for the patch."""
    true, target = settings.patch_pair
    return (
        *(
            Alarm(
                metric=f"physical_accuracy.{threat}",
                level=HALF,
                sentence=sentence,
                unless="" if threat == "worst" else WORST,
            )
            for threat, sentence in MEANINGS.items()
        ),
        Alarm(
            metric=PATCH,
            direction="down",
            level=HALF,
            sentence=f'One printed patch turns most signs "{true}" into "{target}".',
        ),
    )


PHYSICAL = Stage(
    name="physical",
    title="Physical threats",
    summary="stickers, shadows, graffiti, worst of a grid of rotations, shifts and zooms, one printed patch "
    "for a pair of classes",
    settings=PhysicalSettings,
    run="safeml.audits.physical.run:run",
    records=_records,
    alarms=_alarms,
    standard=lambda settings, gated: at_most(settings, images=100),
    quick=lambda settings, gated: at_most(
        settings, images=64, sticker_steps=20, patch_steps=60, shift_points=3, rotation_points=3
    ),
    images=lambda settings: settings.images,
    perfect="safeml.audits.physical.perfect:PERFECT",
)
