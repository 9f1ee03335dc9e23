"""Sentences for the outcome, one per case."""

from __future__ import annotations

from collections.abc import Sequence

from safeml.classifiers.base import Model
from safeml.contracts.records import Permutation
from safeml.contracts.search import Measured
from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.wording import MINUS, PERCENT, counted, number
from safeml.wording import interval as full_interval
from safeml.wording import percent as full_percent

MOST_NAMES = 6
LEAST_IMAGES = 3
STANDING = (
    "The author may have trained on these images; the model file does not record split or augmentation, so no accuracy "
    "here is evidence for release."
)


def measured(metric: Metric) -> str:
    """Format an accuracy: 95.5 % of 6,315 images (94.9 to 96.0 %)."""
    return f"{percent(metric.value)} of {counted(metric.n, 'image')} ({interval(metric.low, metric.high)})"


def proposal(where: str, best: Measured, runner_up: Measured | None) -> str:
    """State the proposed contract and the runner-up."""
    first = f"{where}: the best input contract is {best.candidate.name}, accuracy {measured(best.accuracy)}"
    if runner_up is None or runner_up.drop is None:
        return f"{first}; no other contract fits this model."
    lost = runner_up.drop
    return (
        f"{first}; the runner-up is {runner_up.candidate.name}, accuracy {measured(runner_up.accuracy)}, a loss of "
        f"{percent(lost.value)} on the same images ({interval(lost.low, lost.high)}, corrected for all comparisons)."
    )


def on_these_images(names: Sequence[str]) -> str:
    """State that the proposed contract is better on these images, but perhaps not on others."""
    quoted = " and ".join(f'"{name}"' for name in names)
    return (
        f"This contract is significantly better than {quoted} on these images, but not once frames of the same sign "
        "are treated as one observation. Confirm with the model's author, or supply images of more signs."
    )


def same(where: str, kept: Sequence[Measured], differing: int, images: int) -> str:
    """State which contracts cannot be distinguished."""
    shown = [f'"{entry.candidate.name}"' for entry in kept[:MOST_NAMES]]
    rest = len(kept) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    names = f"{', '.join(shown)} and {last}"
    if differing == 0:
        return (
            f"{where}: {names} give the same predictions on all {counted(images, 'image')}: the model normalises its input, "
            "or the contracts are equivalent. Set any of them in model.input."
        )
    best, second = kept[0], kept[1]
    doubt = "" if second.drop is None else _unproven(second.drop)
    return (
        f"{where}: {names} cannot be distinguished on {counted(images, 'image')}: their predictions differ on "
        f"{number(differing)}, and the first two have accuracies {percent(best.accuracy.value)} and "
        f"{percent(second.accuracy.value)}{doubt}. Supply more labelled images, or set model.input from the author's "
        "documentation."
    )


def _unproven(lost: Metric) -> str:
    ends = interval(lost.low, lost.high)
    return (
        f", but the loss of {percent(lost.value)} is not significant ({ends}, corrected for all comparisons)"
    )


def wrong_classes(where: str, outputs: int, data: ImageDataset) -> str:
    """State that the model has another number of classes."""
    return f"{where}: the model has {outputs} outputs, but the data {data.name} have {data.classes} classes. {_remedy(outputs, data)}"


def _remedy(outputs: int, data: ImageDataset) -> str:
    """State which setting makes the classes of the data those of the model, if one can."""
    present = len(set(data.labels.tolist()))
    if outputs == present < data.classes:
        return (
            f"Only {present} classes have images: if the model has exactly these, set label_order (--label-order), or list "
            "them in classes (--classes) in the order of the outputs."
        )
    if outputs < data.classes:
        return (
            f"If the model was trained on {outputs} of these classes, list them in the order of its outputs in "
            "data.test.classes (--classes, such as 0-18,20-42); the images of other classes are then left out and counted."
        )
    return (
        "If the data lack some classes of the model, list all its classes in class_names or in a table (--class-table), else "
        "supply data of the classes in training."
    )


def chance(where: str, name: str, best: Metric, level: float, tried: int) -> str:
    """State that no contract is above chance."""
    return (
        f"{where}: no better than chance under all {counted(tried, 'contract')} tried: the best, {name}, has an accuracy of "
        f"{measured(best)}; always predicting the most frequent class gives {percent(level)}. Check that these labels are "
        "the classes of the model, and ask its author about the preprocessing."
    )


def permutation(
    where: str, found: Permutation, best_name: str, best: Metric, class_names: Sequence[str]
) -> str:
    """State that only another class order gives a high accuracy, under which contract, and which classes are doubtful."""
    classes = len(class_names)
    return (
        f"{where}: no class order tried fits: the best contract, {best_name}, has an accuracy of {measured(best)}, while "
        f"{found.contract} with permuted classes, fitted on the other half of the images, has "
        f"{measured(found.permuted)} instead of {percent(found.as_given.value)}{_runner_up(found)}. {_thin(found, class_names)}"
        f"Find the author's class order of the {classes} classes and set model.input.class_order."
    )


def _runner_up(found: Permutation) -> str:
    """State the second-best contract with permuted classes, as a clause."""
    lost = found.runner_up_loss
    if found.runner_up_permuted is None or lost is None:
        return ""
    ends = interval(lost.low, lost.high)
    clause = (
        f"; the runner-up, {found.runner_up} with permuted classes, has {measured(found.runner_up_permuted)}"
    )
    if lost.low is None or lost.low <= 0:
        return f"{clause}, and its loss of {percent(lost.value)} is not significant ({ends}), so the two are not distinguished"
    return f"{clause}, a loss of {percent(lost.value)} on the same images ({ends}, corrected for all comparisons)"


def _thin(found: Permutation, class_names: Sequence[str]) -> str:
    """Name the classes whose assignment rests on few images, as a sentence."""
    if not found.thin_classes:
        return ""
    names = _listed([class_names[label] for label in found.thin_classes])
    return f"The assignment of {names} rests on fewer than 3 supporting images each. "


def few_images(data: ImageDataset) -> list[str]:
    """Name the classes with fewer than 3 images, for which the class order is hardly tested."""
    images = [int((data.labels == label).sum()) for label in range(data.classes)]
    few = [
        f"{name} ({counted(count, 'image')})"
        for name, count in zip(data.class_names, images, strict=True)
        if count < LEAST_IMAGES
    ]
    if not few:
        return []
    return [
        f"The place of {_listed(few)} among the outputs rests on fewer than {LEAST_IMAGES} images each: add images of "
        "them, or compare the author's class list."
    ]


def _listed(names: Sequence[str]) -> str:
    """Join names; of a long list the first, and the number of the others."""
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def weak(best: Metric) -> str:
    """State that even the proposed contract has a low accuracy."""
    return (
        f"The accuracy of the proposed contract is only {measured(best)}: the model may need a contract "
        "that was not tried."
    )


def swapped(found: Permutation, given: tuple[int, ...] | None, class_names: Sequence[str]) -> str:
    """State that some classes of the proposed contract may be swapped."""
    order = found.class_of_output
    expected = given or tuple(range(len(order)))
    moved = [k for k, (here, there) in enumerate(zip(order, expected, strict=True)) if here != there]
    shown = ", ".join(f"{k} as {order[k]}" for k in moved[:6]) + (" and others" if len(moved) > 6 else "")
    return (
        f"Some classes may be swapped: another class for {counted(len(moved), 'output')} ({shown}) raises "
        f"the accuracy from {percent(found.as_given.value)} to {percent(found.permuted.value)} on held-out images. "
        f"{_thin(found, class_names)}Compare the author's class list."
    )


def percent(x: float | None) -> str:
    """Write a proportion with one decimal: 41.2 %. What would be rounded onto 0 or 100 % is "under 0.1 %" or "over 99.9 %"."""
    text = f"{100 * x:.1f}".replace("-", MINUS) if x is not None else ""
    if x is None or (text not in ("0.0", "100.0", f"{MINUS}0.0")) or x in (0.0, 1.0):
        return full_percent(x) if x is None or x in (0.0, 1.0) else text + PERCENT
    if x < 0:
        return f"over {MINUS}0.1{PERCENT}"
    return f"under 0.1{PERCENT}" if x < 0.5 else f"over 99.9{PERCENT}"


def interval(low: float | None, high: float | None) -> str:
    """Write both ends with one decimal, the sign once: 38.2 to 44.3 %."""
    if low is None or high is None:
        return full_interval(low, high)
    return f"{percent(low).removesuffix(PERCENT)} to {percent(high)}"


def notes(model: Model, data: ImageDataset, was_tried: bool) -> tuple[str, ...]:
    """Return notes on the measurement that apply to every outcome."""
    found = [STANDING, *data.notes]
    if not was_tried:
        return tuple(found)
    height, width, depth = model.input_shape
    if height is None or width is None:
        sides = " x ".join(str(side) for side in data.images.shape[1:3])
        found.append(
            f"The model accepts any input size; only the size of the data, {sides} pixels, was tried."
        )
    if data.images.shape[3] == 1 and depth != 1:
        found.append("The images are grey, so the channel order cannot be determined; BGR was not tried.")
    if data.tracks is None and data.frames_per_sign is None:
        found.append(
            "The data have no track ids, so images count as independent; if several show the same sign, "
            "the intervals are too narrow (see --frames-per-sign)."
        )
    return tuple(found)
