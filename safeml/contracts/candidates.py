"""The candidate input contracts, as data. Legend: H W C image, K classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from safeml.settings.model import InputSettings
from safeml.wording import MINUS

Channels = Literal["rgb", "bgr", "grey"]

# Mean and standard deviation of ImageNet on 0..1, in RGB order, as in torchvision's preprocessing.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The means of ImageNet on 0..255, in RGB order, as subtracted by Caffe and by keras.applications in mode "caffe".
CAFFE_MEAN = (123.68, 116.779, 103.939)

# Preprocessing that InputSettings cannot express and that is therefore not tried.
NOT_TRIED = (
    "histogram equalisation and CLAHE",
    "the mean and standard deviation of the author's own training images",
    "cropping to the sign",
    "other colour spaces (HSV, YUV, LAB)",
    "class orders other than by number and by the text of the number",
)


@dataclass(frozen=True)
class Candidate:
    """A candidate contract.

    name: in words.
    feed: the preprocessing in words. Candidates with the same feed differ only in class order and share one prediction.
    rank: position among all candidates, most common first; it breaks ties.
    """

    name: str
    feed: str
    settings: InputSettings
    rank: int


def candidates(
    input_shape: tuple[int | None, int | None, int | None],
    image_shape: tuple[int, int, int],
    classes: int,
) -> tuple[Candidate, ...]:
    """Return every contract compatible with a model's input shape (H, W, C; None where open), the image shape and K classes.

    An open size becomes the size of the images. Grey images have no channel order, so BGR is not tried.
    """
    height, width, depth = input_shape
    sides: dict[str, Any] = {}
    if height is None:
        sides["height"] = image_shape[0]
    if width is None:
        sides["width"] = image_shape[1]
    feeds = [
        (f"{_CHANNELS[channels]}, {name}", {"channels": channels, **scaling, **sides})
        for channels in _channels(depth, grey_images=image_shape[2] == 1)
        for name, scaling in _scalings(channels)
    ]
    orders: list[tuple[str, tuple[int, ...] | None]] = [("", None)]
    if text_sorted(classes) != tuple(range(classes)):
        orders.append((", classes sorted as text", text_sorted(classes)))
    return tuple(
        Candidate(feed + suffix, feed, InputSettings(**settings, class_order=order), rank)
        for rank, (suffix, order, feed, settings) in enumerate(
            (suffix, order, feed, settings) for suffix, order in orders for feed, settings in feeds
        )
    )


def text_sorted(classes: int) -> tuple[int, ...]:
    """Return the class id of each output if the author listed class folders as text: 0, 1, 10, 11, ..., 2, 20, ..."""
    return tuple(sorted(range(classes), key=str))


_CHANNELS: dict[Channels, str] = {"rgb": "RGB", "bgr": "BGR", "grey": "grey"}


def _channels(depth: int | None, grey_images: bool) -> tuple[Channels, ...]:
    colour: tuple[Channels, ...] = ("rgb",) if grey_images else ("rgb", "bgr")
    if depth == 1:
        return ("grey",)
    return colour if depth == 3 else (*colour, "grey")


def _scalings(channels: Channels) -> list[tuple[str, dict[str, Any]]]:
    """Return the name and settings of each scaling; means are in the channel order of the model."""
    plain: list[tuple[str, dict[str, Any]]] = [
        ("0..1", {"range": (0.0, 1.0)}),
        ("0..255", {"range": (0.0, 255.0)}),
        (f"{MINUS}1..1", {"range": (-1.0, 1.0)}),
        (f"{MINUS}0.5..0.5", {"range": (-0.5, 0.5)}),
        ("standardised per image", {"range": (0.0, 1.0), "standardise": True}),
    ]
    if channels == "grey":
        return plain
    step = 1 if channels == "rgb" else -1
    imagenet = {"range": (0.0, 1.0), "mean": IMAGENET_MEAN[::step], "std": IMAGENET_STD[::step]}
    caffe = {"range": (0.0, 255.0), "mean": CAFFE_MEAN[::step]}
    return [*plain, ("ImageNet mean and std", imagenet), ("0..255 minus the ImageNet means", caffe)]
