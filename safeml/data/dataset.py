"""Labelled images with their annotations. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from safeml.data.targets import Targets
from safeml.errors import ConfigError, InputRefused
from safeml.settings.errors import suggest
from safeml.statistics.clusters import Clustering

# The origin of tracks that were proposed from pixels.
RECOVERED = "recovered"


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A labelled set of images.

    images: uint8 [N, H, W, C], RGB or grey, 0..255.
    labels: int64 [N], 0..K-1.
    class_names: K names.
    tracks: int64 [N] or None; equal numbers are frames of one physical sign.
    frames: int64 [N] or None; the number of each image in its track, in the order of recording. Not in the fingerprint.
    frames_per_sign: if tracks are unknown, the declared number of frames per sign in this set (>= 1; 1 declares
            independent images); where the numbers differ or are uncertain, declare the largest. None: not declared.
    boxes: float32 [N, 4] or None; x1, y1, x2, y2 of the sign in pixels of `images`.
    original_size: int32 [N, 2] or None; height and width in pixels before resizing to H x W.
    groups: group column name -> str [N].
    ids: int64 [N]; the number of each image in its source, which a subset preserves.
    files: object [N] or None; the path of each image in the data folder, with slashes.
    costs: float64 [K, K] in 0..1 or None; the user's cost of predicting class j for class i.
    generated: bool [N] or None; which images were generated, not photographed. None: not known.
    tracks_origin: "" for recorded tracks, RECOVERED for tracks proposed from pixels.
    quantities: name -> float64 [N]; what the source knows of each image, from which targets are chosen. Not in the fingerprint.
    targets: what a regression model predicts; None for a classifier.
    notes: what a reader must know of how the files were read, one sentence each, with counts.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    tracks: np.ndarray | None = None
    frames_per_sign: float | None = None
    boxes: np.ndarray | None = None
    original_size: np.ndarray | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray | None = None
    files: np.ndarray | None = None
    costs: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    frames: np.ndarray | None = None
    generated: np.ndarray | None = None
    tracks_origin: str = ""
    quantities: dict[str, np.ndarray] = field(default_factory=dict)
    targets: Targets | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise InputRefused(
                f"{self.name}: images are {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, 1 or 3]."
            )
        if len(images) == 0:
            raise InputRefused(f"{self.name}: there are no images; expected at least one.")
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise InputRefused(
                f"{self.name}: labels are {labels.dtype} {list(labels.shape)}; expected one integer for each "
                f"of the {len(images)} images."
            )
        wrong = (labels < 0) | (labels >= len(self.class_names))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputRefused(
                f"{self.name}: image {row} has class id {labels[row]}; with {len(self.class_names)} classes, "
                f"ids are 0-{len(self.class_names) - 1}."
            )
        _check_names(self.name, self.class_names)
        if self.frames_per_sign is not None and not 1 <= self.frames_per_sign < float("inf"):
            raise ConfigError(
                f"{self.name}: frames_per_sign is {self.frames_per_sign}; expected a number of at least 1."
            )
        columns = {
            "tracks": self.tracks,
            "boxes": self.boxes,
            "original_size": self.original_size,
            "ids": self.ids,
            "files": self.files,
            "frames": self.frames,
            "generated": self.generated,
            "targets": None if self.targets is None else self.targets.values,
        }
        for column, values in {**columns, **self.groups, **self.quantities}.items():
            if values is not None and len(values) != len(images):
                raise InputRefused(
                    f"{self.name}: {column} has {len(values)} rows; there are {len(images)} images."
                )
        if self.ids is None:
            object.__setattr__(self, "ids", np.arange(len(images), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> int:
        """Return K, the number of classes."""
        return len(self.class_names)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of a model's outputs: the classes, or the targets of a regression."""
        return self.class_names if self.targets is None else self.targets.names

    @property
    def truths(self) -> np.ndarray:
        """Return what a prediction is compared with: labels, int64 [N]; of a regression the targets, float32 [N, T]."""
        return self.labels if self.targets is None else self.targets.values.astype(np.float32)

    @property
    def clustering(self) -> Clustering:
        """What is known about images that show the same physical sign."""
        return Clustering(self.tracks, self.frames_per_sign)

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 of pixels, labels, names, tracks and declared clustering: all that a verdict depends on."""
        digest = hashlib.sha256(repr((self.images.shape, self.class_names, self.frames_per_sign)).encode())
        for array in (self.images, self.labels.astype("<i8"), self.tracks, self.boxes):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        for column in sorted(self.groups):
            digest.update(column.encode())
            digest.update("\0".join(map(str, self.groups[column])).encode())
        if self.costs is not None:
            digest.update(b"costs" + np.ascontiguousarray(self.costs, dtype="<f8").tobytes())
        if self.generated is not None:
            digest.update(b"generated" + self.generated.astype(bool).tobytes())
        digest.update(self.tracks_origin.encode())
        if self.targets is not None:
            digest.update(b"targets" + self.targets.content)
        return digest.hexdigest()

    @cached_property
    def pixels_fingerprint(self) -> str:
        """Return the sha256 of the images alone."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).tobytes())
        return digest.hexdigest()

    def take(self, indices: np.ndarray) -> ImageDataset:
        """Return the images at `indices` (int [M]) in that order, with all columns and the declared clustering."""

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[indices]

        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            tracks=pick(self.tracks),
            boxes=pick(self.boxes),
            original_size=pick(self.original_size),
            groups={column: values[indices] for column, values in self.groups.items()},
            ids=pick(self.ids),
            files=pick(self.files),
            frames=pick(self.frames),
            generated=pick(self.generated),
            quantities={name: values[indices] for name, values in self.quantities.items()},
            targets=None if self.targets is None else self.targets.take(indices),
        )

    def only(self, classes: tuple[str | int, ...]) -> ImageDataset:
        """Return the images of `classes` (names or class ids), renumbered in that order; a note counts the others.

        Raises:
            ConfigError: an unknown class, or one that occurs twice.
        """
        numbers = [self._class_id(entry) for entry in classes]
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise ConfigError(
                f'{self.name}: classes names "{self.class_names[twice]}" twice; expected each once.'
            )
        chosen = self.take(np.flatnonzero(np.isin(self.labels, numbers)))
        labels = np.argmax(chosen.labels[:, None] == np.array(numbers), axis=1).astype(np.int64)
        others = [name for number, name in enumerate(self.class_names) if number not in numbers]
        notes = self.notes
        if others:
            shown = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
            notes = (
                *notes,
                f"{len(self) - len(chosen):,} of {len(self):,} images are not used, because their classes are left out of "
                f"the setting classes ({len(others)} of {self.classes}): {shown}.",
            )
        costs = None if self.costs is None else self.costs[np.ix_(numbers, numbers)]
        return replace(
            chosen,
            labels=labels,
            costs=costs,
            class_names=tuple(self.class_names[number] for number in numbers),
            notes=notes,
        )

    def _class_id(self, entry: str | int) -> int:
        """Return the class id of a name or an id."""
        if isinstance(entry, int):
            if entry >= self.classes:
                raise ConfigError(
                    f"{self.name}: classes has the id {entry}; with {self.classes} classes, ids are 0-{self.classes - 1}."
                )
            return entry
        if entry not in self.class_names:
            raise ConfigError(
                f'{self.name}: there is no class called "{entry}"{suggest(entry, list(self.class_names))}.'
            )
        return self.class_names.index(entry)

    def sample(self, count: int, seed: int) -> ImageDataset:
        """Draw a simple random sample of `count` images without replacement, in source order.

        The declared cluster size shrinks: a sign with f frames among N images has, for any frame in a sample of n, on
        average 1 + (f - 1)(n - 1)/(N - 1) frames in the sample (itself included), the worst-case design effect.
        """
        if count >= len(self):
            return self
        rng = np.random.default_rng([seed, 0x5A])
        chosen = self.take(np.sort(rng.choice(len(self), size=count, replace=False)))
        if self.frames_per_sign is None:
            return chosen
        frames = 1 + (self.frames_per_sign - 1) * (count - 1) / (len(self) - 1)
        return replace(chosen, frames_per_sign=frames)


def _check_names(where: str, names: tuple[str, ...]) -> None:
    """Raise ConfigError for class names that a report cannot tell apart or a results file cannot hold."""
    if len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise ConfigError(f"{where}: class names are empty or repeat; give each class a unique name.")
    for number, name in enumerate(names):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{where}: the name of class {number} is not Unicode text ({name[:40]!a}); rename the class, or its folder."
            ) from error
