"""The corruptions by their name in `safeml.toml`: everything that can be known of one without running it.

A new corruption is one function, one row here and one row in the test table. No NumPy: settings, plan and report read this too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEAST_SIDE = 16
# Images with a shorter side below this get the constants for small images.
SMALL = 128
SEVERITIES = (1, 2, 3, 4, 5)
HENDRYCKS = 'D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019'
OURS = "safeml"
Strengths = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    name, title: in the settings and in the report.
    group: heading in the report.
    function: "module:name", (pixels float32 [N, H, W, C] 0..1, strength, Draws) -> the same shape, imported when it runs.
    small: what the function gets at severities 1 to 5 for images with a side below SMALL.
    large: the same for larger images; None if the constants are shares of the image.
    source: of definition and constants.
    own: severities of `small` whose constants are not the published ones.
    colour: it changes only colours, so grey images have no such corruption.
    moves: it moves pixels, which may change what a regression predicts, such as an angle.
    """

    name: str
    title: str
    group: str
    function: str
    small: Strengths
    large: Strengths | None = None
    source: str = OURS
    own: tuple[int, ...] = ()
    colour: bool = False
    moves: bool = False

    @property
    def published(self) -> bool:
        """Return whether it is one of the 19 of ImageNet-C."""
        return self.source == HENDRYCKS

    def strength(self, severity: int, side: int) -> Any:
        """Return the constants for severity 1 to 5 of images whose shorter side has `side` pixels."""
        table = self.large if self.large is not None and side >= SMALL else self.small
        return table[severity - 1]


def _published(
    name: str, title: str, group: str, where: str, small: Strengths, large: Strengths, **more: Any
) -> Corruption:
    function = f"safeml.corruptions.{where}"
    return Corruption(name, title, group, function, small, large, source=HENDRYCKS, **more)


def _road(name: str, title: str, group: str, where: str, small: Strengths, **more: Any) -> Corruption:
    return Corruption(name, title, group, f"safeml.corruptions.{where}:{name}", small, **more)


NOISE, BLUR, WEATHER, DIGITAL = "Noise", "Blur", "Weather", "Digital"
ROAD, COVER, CAMERA, VIEW = "Road weather", "Dirt and cover", "Camera", "View"

ROWS = (
    _published(
        "gaussian_noise",
        "Gaussian noise",
        NOISE,
        "noise:gaussian_noise",
        (0.04, 0.06, 0.08, 0.09, 0.10),
        (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    _published(
        "shot_noise", "Shot noise", NOISE, "noise:shot_noise", (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)
    ),
    _published(
        "impulse_noise",
        "Impulse noise",
        NOISE,
        "noise:impulse_noise",
        (0.01, 0.02, 0.03, 0.05, 0.07),
        (0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    _published(
        "speckle_noise",
        "Speckle noise",
        NOISE,
        "noise:speckle_noise",
        (0.06, 0.10, 0.12, 0.16, 0.20),
        (0.15, 0.20, 0.35, 0.45, 0.60),
    ),
    _published(
        "gaussian_blur",
        "Gaussian blur",
        BLUR,
        "blur:gaussian_blur",
        (0.4, 0.6, 0.7, 0.8, 1.0),
        (1, 2, 3, 4, 6),
    ),
    _published(
        "defocus_blur",
        "Defocus blur",
        BLUR,
        "blur:defocus_blur",
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    _published(
        "glass_blur",
        "Glass blur",
        BLUR,
        "blur:glass_blur",
        ((0.4, 1, 1), (0.25, 1, 1), (0.4, 1, 2), (0.25, 1, 2), (0.25, 1, 3)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        own=(1, 3, 5),
    ),
    _published(
        "motion_blur",
        "Motion blur",
        BLUR,
        "blur:motion_blur",
        ((6, 1), (6, 1.5), (6, 2), (8, 2.25), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        own=(4,),
    ),
    _published(
        "zoom_blur",
        "Zoom blur",
        BLUR,
        "blur:zoom_blur",
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    _published(
        "snow",
        "Snow",
        WEATHER,
        "weather:snow",
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    _published(
        "frost",
        "Frost",
        WEATHER,
        "weather:frost",
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.5), (0.75, 0.65)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        own=(4, 5),
    ),
    _published(
        "fog",
        "Fog",
        WEATHER,
        "weather:fog",
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    _published(
        "spatter",
        "Spatter",
        WEATHER,
        "digital:spatter",
        (
            (0.62, 0.1, 0.7, 0.7, 0.2, 0),
            (0.65, 0.1, 0.8, 0.7, 0.2, 0),
            (0.65, 0.3, 1, 0.69, 0.14, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        own=(1, 2, 3),
    ),
    _published(
        "brightness",
        "Brightness",
        DIGITAL,
        "digital:brightness",
        (0.05, 0.1, 0.15, 0.2, 0.3),
        (0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    _published(
        "contrast",
        "Contrast",
        DIGITAL,
        "digital:contrast",
        (0.75, 0.5, 0.4, 0.3, 0.15),
        (0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    _published(
        "saturate",
        "Saturation",
        DIGITAL,
        "digital:saturate",
        ((1.5, 0), (0.3, 0), (0.1, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        own=(1, 2, 3),
        colour=True,
    ),
    _published(
        "jpeg_compression",
        "JPEG compression",
        DIGITAL,
        "digital:jpeg",
        (80, 65, 58, 50, 40),
        (25, 18, 15, 10, 7),
    ),
    _published(
        "pixelate",
        "Pixelation",
        DIGITAL,
        "digital:pixelate",
        (0.95, 0.9, 0.8, 0.75, 0.65),
        (0.6, 0.5, 0.4, 0.3, 0.25),
        own=(3,),
    ),
    _published(
        "elastic_transform",
        "Elastic deformation",
        DIGITAL,
        "digital:elastic",
        ((0.1, 0.03, 0.03), (0.1, 0.04, 0.05), (0.08, 0.06, 0.06), (0.05, 0.2, 0.07), (0, 0, 0.08)),
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        own=(1, 2, 4, 5),
        moves=True,
    ),
    _road(
        "rain",
        "Rain",
        ROAD,
        "road",
        ((0.01, 0.15, 0.95), (0.02, 0.18, 0.9), (0.035, 0.22, 0.85), (0.05, 0.26, 0.8), (0.08, 0.3, 0.7)),
    ),
    _road("mist", "Mist", ROAD, "road", (0.3, 0.6, 1.0, 1.5, 2.2)),
    _road(
        "low_sun",
        "Low sun and glare",
        ROAD,
        "road",
        ((0.2, 0.03), (0.4, 0.06), (0.6, 0.1), (0.9, 0.15), (1.3, 0.25)),
    ),
    _road(
        "night",
        "Night with sensor noise",
        ROAD,
        "road",
        ((0.6, 400), (0.4, 200), (0.25, 100), (0.15, 50), (0.08, 20)),
    ),
    _road("dirt", "Dirt", COVER, "road", (0.04, 0.08, 0.14, 0.22, 0.32)),
    _road("sticker", "Sticker", COVER, "road", (0.01, 0.025, 0.05, 0.09, 0.15)),
    _road("occlusion", "Partial occlusion", COVER, "road", (0.1, 0.18, 0.26, 0.35, 0.45)),
    _road("driving_blur", "Motion blur while driving", CAMERA, "camera", (0.06, 0.1, 0.15, 0.21, 0.3)),
    _road("rolling_shutter", "Rolling shutter", CAMERA, "camera", (0.06, 0.12, 0.2, 0.3, 0.42), moves=True),
    _road("white_balance", "White balance", CAMERA, "camera", (0.08, 0.16, 0.26, 0.38, 0.55), colour=True),
    _road(
        "isp",
        "Sharpening and colour blur of the ISP",
        CAMERA,
        "camera",
        ((0.5, 0.5), (1, 1), (1.6, 1.5), (2.4, 2), (3.5, 3)),
    ),
    _road("rotation", "Rotation", VIEW, "view", (4, 8, 13, 19, 27), moves=True),
    _road("perspective", "Perspective", VIEW, "view", (12, 22, 32, 42, 52), moves=True),
    _road("distance", "Distance", VIEW, "view", (0.8, 0.65, 0.5, 0.4, 0.3)),
)
CORRUPTIONS = {row.name: row for row in ROWS}
