"""What the physical stage will compute, from its data and settings alone. Legend: N images."""

from __future__ import annotations

import math

from safeml.attacks.signs.sticker import STARTS, TRIES
from safeml.attacks.signs.universal import PLACES
from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Call, Perfect
from safeml.audits.physical.items import VIEWS
from safeml.audits.physical.patch import halves
from safeml.audits.promises import PROBED
from safeml.stages.physical import PhysicalSettings
from safeml.work import Cost

# Of the universal patch: first colours at each place, the looks that choose between first and last, images in a step.
COLOURS, LAST_LOOKS, MOST_IN_A_STEP = 3, 2, 32


def physical_calls(inputs: AuditInputs, settings: PhysicalSettings, gradient: bool) -> list[Call]:
    """What is asked where no image leaves a search early, which is the most: it leaves at its first wrong answer.

    inputs: the data around the model, which is not asked. gradient: whether it gives one; without, no sticker and no patch.
    """
    images = min(settings.images, len(inputs.test))
    candidates = {
        "shadow": settings.shadow_shapes * len(settings.shadow_factors),
        "graffiti": settings.graffiti_shapes,
        "transform": settings.grid_points,
    }
    calls = [Call("clean", images), Call("views", images * VIEWS)]
    # Each search looks at the clean image first, and the audit asks again for what it hands back.
    calls += [Call(name, images * (2 + count)) for name, count in candidates.items()]
    if not gradient:
        return calls
    return [*calls, _promise(images), *_sticker(settings, images), *_patch(inputs, settings)]


def _promise(images: int) -> Call:
    """One gradient of each, and one look where it led."""
    return Call("promise", min(images, PROBED), Cost(2, 1, graph="linf"))


def _sticker(settings: PhysicalSettings, images: int) -> list[Call]:
    """A search over places and first colours; then each try steps, and looks once more at what its last step made."""
    places = settings.sticker_places**2
    tries = min(TRIES, places)
    whole = math.ceil(images / settings.batch) * settings.batch  # batches are filled up
    climb = Call("sticker", whole, Cost(1 + tries * (settings.sticker_steps + 1), tries, graph="linf"))
    return [Call("sticker-places", images * (1 + places * STARTS)), climb]


def _patch(inputs: AuditInputs, settings: PhysicalSettings) -> list[Call]:
    """Nothing where the data have no such pair of classes."""
    found = halves(inputs, settings)
    if isinstance(found, str):
        return []
    training = len(found.training)
    looks = PLACES**2 * COLOURS + LAST_LOOKS
    step = min(settings.batch, training, MOST_IN_A_STEP)
    return [
        Call("patch-places", training, Cost(PLACES**2, 1, graph="linf")),
        Call("patch-looks", training * looks),
        Call("patch", step, Cost(settings.patch_steps, 1, graph="linf")),
        Call("patch-judged", 3 * len(found.held_out)),
        _promise(len(found.held_out)),
    ]


# An attack on the sign ends at the first incorrect classification, so that no dry run can count its candidates.
PERFECT = Perfect(calls=physical_calls, gates=False)
