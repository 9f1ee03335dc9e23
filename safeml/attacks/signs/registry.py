"""The threats to a sign by their name in metrics. A new one is one file, one row here and one row in the test table."""

from __future__ import annotations

from safeml.attacks.signs.base import SignThreat
from safeml.attacks.signs.graffiti import STROKES, graffiti, graffiti_allowed
from safeml.attacks.signs.shadow import shadow, shadow_allowed
from safeml.attacks.signs.sticker import sticker, sticker_allowed
from safeml.attacks.signs.transform import transform, transform_allowed
from safeml.wording import limit_percent

WHITE_BOX, BLACK_BOX = "NISTAML.022", "NISTAML.025"

SIGN_THREATS: dict[str, SignThreat] = {
    "sticker": SignThreat(
        title="Sticker",
        gradient=True,
        attack=sticker,
        allowed=sticker_allowed,
        budget=lambda s: (
            f"{limit_percent(s.sticker_area)} of the box, {s.sticker_places**2} places, {s.sticker_steps} steps"
        ),
        atlas="AML.T0043.000, AML.T0041",
        nist=WHITE_BOX,
        source="Brown et al. 2017, Eykholt et al. 2018",
    ),
    "shadow": SignThreat(
        title="Shadow",
        gradient=False,
        attack=shadow,
        allowed=shadow_allowed,
        budget=lambda s: (
            f"{s.shadow_shapes} shapes, light times {', '.join(f'{f:g}' for f in s.shadow_factors)}"
        ),
        atlas="AML.T0043.001, AML.T0041",
        nist=BLACK_BOX,
        source="Zhong et al. 2022",
    ),
    "graffiti": SignThreat(
        title="Graffiti",
        gradient=False,
        attack=graffiti,
        allowed=graffiti_allowed,
        budget=lambda s: (
            f"{s.graffiti_shapes} drawings of {STROKES} strokes, at most {limit_percent(s.graffiti_area)} of the box"
        ),
        atlas="AML.T0043.001, AML.T0041",
        nist=BLACK_BOX,
        source="Eykholt et al. 2018",
    ),
    "transform": SignThreat(
        title="Rotation, shift and zoom",
        gradient=False,
        attack=transform,
        allowed=transform_allowed,
        budget=lambda s: (
            f"{s.grid_points} points: ±{s.rotation_degrees:g}°, ±{limit_percent(s.shift)} of the side, zoom ±{limit_percent(s.zoom)}"
        ),
        atlas="AML.T0043.001, AML.T0041",
        nist=BLACK_BOX,
        source="Engstrom et al. 2019",
    ),
}
