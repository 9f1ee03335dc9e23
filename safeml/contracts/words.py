"""The outcome in sentences. One sentence a case, with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.classifiers.base import Model
from safeml.contracts.records import Permutation
from safeml.contracts.search import Measured
from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.wording import counted, interval, number, percent

MOST_NAMES = 6
STANDING = (
    "These images may have been in the author's own training; which split and which augmentation the author used cannot "
    "be seen, so no accuracy here is evidence for release."
)


def measured(metric: Metric) -> str:
    """95.5 % of 6,315 images (94.9 to 96.0 %)."""
    return f"{percent(metric.value)} of {counted(metric.n, 'image')} ({interval(metric.low, metric.high)})"


def proposal(where: str, best: Measured, runner_up: Measured | None) -> str:
    """The contract that fits, and the one that comes next."""
    first = f"{where}: {best.candidate.name} fits, with {measured(best.accuracy)} right"
    if runner_up is None or runner_up.drop is None:
        return f"{first}; no other contract could be tried."
    lost = runner_up.drop
    return (
        f"{first}; the runner-up is {runner_up.candidate.name} with {measured(runner_up.accuracy)}, which loses "
        f"{percent(lost.value)} of the same images ({interval(lost.low, lost.high)}, allowing for all comparisons)."
    )


def on_these_images(names: Sequence[str]) -> str:
    """The proposed contract is better on these images, and perhaps not on others."""
    quoted = " and ".join(f'"{name}"' for name in names)
    return (
        f"That it fits better than {quoted} is sure for these images, and not proven for other signs: each declared sign is "
        "taken as wholly right or wholly wrong; ask the author, or give images of more signs."
    )


def same(where: str, kept: Sequence[Measured], differing: int, images: int) -> str:
    """Contracts that cannot be told apart."""
    shown = [f'"{entry.candidate.name}"' for entry in kept[:MOST_NAMES]]
    rest = len(kept) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    names = f"{', '.join(shown)} and {last}"
    if differing == 0:
        return (
            f"{where}: gives the same answers to all {counted(images, 'image')} under {names}; it normalises its input by "
            "itself, or these contracts mean the same to it, so set any of them in model.input."
        )
    best, second = kept[0], kept[1]
    doubt = "" if second.drop is None else _unproven(second.drop)
    return (
        f"{where}: {names} cannot be told apart on {counted(images, 'image')}: their answers differ on "
        f"{number(differing)}, and the first two are right on {percent(best.accuracy.value)} and "
        f"{percent(second.accuracy.value)}{doubt}; give more labelled images, or set model.input from what the author documents."
    )


def _unproven(lost: Metric) -> str:
    ends = interval(lost.low, lost.high)
    return f", but the loss of {percent(lost.value)} may be chance ({ends}, allowing for all comparisons)"


def wrong_classes(where: str, outputs: int, data: ImageDataset) -> str:
    """The model is about other classes."""
    return (
        f"{where}: gives {outputs} outputs; the data {data.name} have {data.classes} classes; give data of the classes that "
        "the model was trained on."
    )


def chance(where: str, name: str, best: Metric, level: float, tried: int) -> str:
    """No contract is better than no model."""
    return (
        f"{where}: is at chance under all {counted(tried, 'contract')} that were tried: the best, {name}, has "
        f"{measured(best)} right, and always naming the most frequent class has {percent(level)}; check that these "
        "labels are the model's classes, and ask its author how images were prepared."
    )


def permutation(where: str, found: Permutation, best_name: str, best: Metric, classes: int) -> str:
    """Only another class order makes the model good."""
    return (
        f"{where}: no class order that was tried fits: the best contract, {best_name}, has {measured(best)} right, while "
        f"{found.contract} with its classes permuted, as fitted on the other half of the images, has "
        f"{measured(found.permuted)} instead of {percent(found.as_given.value)} as given, and {found.thin} of its {classes} "
        "classes rest on fewer than 3 images; find the author's class order and set model.input.class_order yourself."
    )


def weak(best: Metric) -> str:
    """The proposed contract is the best of a bad lot."""
    return (
        f"Even the proposed contract is right on only {measured(best)}: perhaps none of the contracts that were tried is "
        "the model's own."
    )


def swapped(found: Permutation, given: tuple[int, ...] | None) -> str:
    """Some classes of the proposed contract seem to be exchanged."""
    order = found.class_of_output
    expected = given or tuple(range(len(order)))
    moved = [k for k, (here, there) in enumerate(zip(order, expected, strict=True)) if here != there]
    shown = ", ".join(f"{k} as {order[k]}" for k in moved[:6]) + (" and others" if len(moved) > 6 else "")
    return (
        f"Some classes seem to be exchanged: reading {counted(len(moved), 'output')} as other classes ({shown}) raises "
        f"accuracy from {percent(found.as_given.value)} to {percent(found.permuted.value)} on images that this was not "
        "fitted on; compare the author's class list."
    )


def notes(model: Model, data: ImageDataset, was_tried: bool) -> tuple[str, ...]:
    """What the reader should know about how it was measured, whatever came out."""
    found = [STANDING]
    if not was_tried:
        return tuple(found)
    height, width, depth = model.input_shape
    if height is None or width is None:
        sides = " x ".join(str(side) for side in data.images.shape[1:3])
        found.append(
            f"The model leaves its input size open; the size of the data, {sides} pixels, was used and not tried against others."
        )
    if data.images.shape[3] == 1 and depth != 1:
        found.append(
            "The images are grey, so the order of colour channels cannot be told; BGR was not tried."
        )
    if data.tracks is None and data.frames_per_sign is None:
        found.append(
            "Which images show one sign is not known, so they count as independent here; if they are frames of fewer "
            "signs, the intervals are too narrow (see --frames-per-sign)."
        )
    return tuple(found)
