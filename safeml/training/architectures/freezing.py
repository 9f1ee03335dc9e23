"""The choice of frozen layers of a transferred network, as a pure function of a few numbers."""

from __future__ import annotations

from typing import NamedTuple

from safeml.config.recipe import BackboneSettings

# Images per class from which a set counts as large: as in CIFAR-100, the smallest of the sets on which convolutional
# networks are commonly trained from scratch (A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009).
MANY = 500


class Decision(NamedTuple):
    """A choice of frozen layers.

    frozen: number of layers with weights, from the input on, that stay frozen after the epochs of the head.
    at_once: all layers are trained from the first epoch at the full learning rate.
    """

    frozen: int
    at_once: bool
    reason: str


def decide(settings: BackboneSettings, layers: int, images_per_class: float, random: bool) -> Decision:
    """Decide the frozen layers of a backbone of `layers` layers with weights.

    "auto" is the rule by size and similarity of the data. J. Yosinski et al., "How transferable are features in deep neural
    networks?", 2014: features of early layers are general, later ones are task-specific, and fine-tuning from a
    similar task generalises better than training from scratch.
    random: the backbone has random weights, so no layer is frozen unless the recipe says so.
    """
    wanted = settings.freeze
    if random and wanted in ("auto", "none"):
        return Decision(0, True, "the backbone starts from random weights, so everything is trained at once")
    if wanted == "all":
        return Decision(layers, False, 'freeze = "all"')
    if wanted == "none":
        return Decision(0, False, 'freeze = "none"')
    if wanted != "auto":
        frozen = round(wanted * layers)
        return Decision(frozen, False, f"freeze = {wanted:g}: {frozen} of {layers} layers")
    many = images_per_class >= MANY
    why = (
        f'freeze = "auto": {images_per_class:,.0f} images per class ({"many" if many else "few"}; {MANY} count as many), '
        f"{'similar' if settings.similar else 'not similar'} to those of the source"
    )
    if not many and settings.similar:
        return Decision(layers, False, f"{why}: feature extraction")
    if not many:
        return Decision(layers // 2, False, f"{why}: the upper half is trained")
    if settings.similar:
        return Decision(0, False, f"{why}: the head first, then all layers are fine-tuned")
    return Decision(0, True, f"{why}: everything is trained at once")
