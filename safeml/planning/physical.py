"""What the physical stage will compute, from its settings alone. Legend: N images."""

from __future__ import annotations

from safeml.config import PhysicalSettings
from safeml.planning.perfect import Call


def physical_calls(settings: PhysicalSettings, count: int, gradient: bool) -> list[Call]:
    """Of `count` test images: every candidate of the searches as an answer, every sticker and patch step as a gradient.

    An image leaves at its first wrong answer, so this is the most; the universal patch is counted for images of one class
    in a batch.
    """
    images = min(settings.images, count)
    candidates = settings.shadow_shapes * len(settings.shadow_factors) + settings.graffiti_shapes
    candidates += settings.grid_points + settings.sticker_places**2
    calls = [Call("clean", images), Call("searches", images * candidates)]
    if gradient:
        calls.append(Call("sticker", images, settings.sticker_steps, 1, True, "linf"))
        calls.append(Call("patch", settings.batch, settings.patch_steps, 1, True, "linf"))
    return calls
