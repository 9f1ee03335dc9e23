"""The 43 signs of the German Traffic Sign Recognition Benchmark as data: row k is class k.

The names are those of the official list (J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: "Man vs. computer: Benchmarking
machine learning algorithms for traffic sign recognition", 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from PIL import Image

from safeml.data.rendered import arrows, faces, symbols
from safeml.data.rendered.brush import GREY, REACH, WHITE, Brush
from safeml.data.rendered.faces import Face

Symbol = Callable[[Brush], None]


@dataclass(frozen=True)
class Sign:
    name: str
    face: Face
    symbol: Symbol


def _speed(limit: str) -> Sign:
    return Sign(f"Speed limit ({limit}km/h)", faces.PROHIBITION, partial(symbols.speed_limit, number=limit))


def _warning(name: str, symbol: Symbol, mirrored: bool = False) -> Sign:
    """Return a warning triangle; its symbol is in the white field, below the middle of the plate."""

    def placed(brush: Brush) -> None:
        field = brush.at(0, 0.22, 0.44)
        symbol(field.mirrored() if mirrored else field)

    return Sign(name, faces.WARNING, placed)


SIGNS: tuple[Sign, ...] = (
    _speed("20"),
    _speed("30"),
    _speed("50"),
    _speed("60"),
    _speed("70"),
    _speed("80"),
    Sign("End of speed limit (80km/h)", faces.END, symbols.speed_limit_end),
    _speed("100"),
    _speed("120"),
    Sign("No passing", faces.PROHIBITION, symbols.no_passing),
    Sign("No passing for vehicles over 3.5 metric tons", faces.PROHIBITION, symbols.no_passing_trucks),
    _warning("Right-of-way at the next intersection", symbols.right_of_way),
    Sign("Priority road", faces.PRIORITY, symbols.nothing),
    Sign("Yield", faces.YIELD, symbols.nothing),
    Sign("Stop", faces.STOP, symbols.stop_word),
    Sign("No vehicles", faces.PROHIBITION, symbols.nothing),
    Sign("Vehicles over 3.5 metric tons prohibited", faces.PROHIBITION, symbols.truck),
    Sign("No entry", faces.NO_ENTRY, symbols.nothing),
    _warning("General caution", symbols.exclamation_mark),
    _warning("Dangerous curve to the left", symbols.curve),
    _warning("Dangerous curve to the right", symbols.curve, mirrored=True),
    _warning("Double curve", symbols.double_curve),
    _warning("Bumpy road", symbols.bumps),
    _warning("Slippery road", symbols.slippery_car),
    _warning("Road narrows on the right", symbols.narrow_right),
    _warning("Road work", symbols.road_worker),
    _warning("Traffic signals", symbols.traffic_light),
    _warning("Pedestrians", symbols.pedestrian),
    _warning("Children crossing", symbols.children),
    _warning("Bicycles crossing", symbols.bicycle),
    _warning("Beware of ice/snow", symbols.snowflake),
    _warning("Wild animals crossing", symbols.deer),
    Sign("End of all speed and passing limits", faces.END, faces.end_stripes),
    Sign("Turn right ahead", faces.MANDATORY, arrows.turn_right),
    Sign("Turn left ahead", faces.MANDATORY, arrows.turn_left),
    Sign("Ahead only", faces.MANDATORY, arrows.ahead),
    Sign("Go straight or right", faces.MANDATORY, arrows.ahead_or_right),
    Sign("Go straight or left", faces.MANDATORY, arrows.ahead_or_left),
    Sign("Keep right", faces.MANDATORY, arrows.keep_right),
    Sign("Keep left", faces.MANDATORY, arrows.keep_left),
    Sign("Roundabout mandatory", faces.MANDATORY, arrows.roundabout),
    Sign("End of no passing", faces.END, symbols.no_passing_end),
    Sign("End of no passing by vehicles over 3.5 metric tons", faces.END, symbols.no_passing_trucks_end),
)

CLASS_NAMES: tuple[str, ...] = tuple(sign.name for sign in SIGNS)

MOUNTS = ("none", "post", "post and panel")
"""The mount of the plate: not visible, a post below it, or a post with a white additional panel."""


@cache
def plate(label: int, mount: str, pixels: int) -> Image.Image:
    """Draw a new sign of class `label`: RGBA, `pixels` square, spanning -REACH..REACH in sign units.

    Drawn at four times the size and reduced for smooth edges, once per process.
    """
    canvas = Image.new("RGBA", (4 * pixels, 4 * pixels))
    brush = Brush(canvas)
    if mount != "none":
        brush.bar(-0.08, 0, 0.08, REACH, GREY)
    if mount == "post and panel":
        brush.bar(-0.75, 1.06, 0.75, REACH, WHITE)
    sign = SIGNS[label]
    sign.face.paint(brush)
    sign.symbol(brush)
    return canvas.resize((pixels, pixels), Image.Resampling.BOX)
