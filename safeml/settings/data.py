"""The settings of a data set."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import PathText, Settings
from safeml.settings.errors import found
from safeml.settings.targets import TargetSettings, check_targets

# The keys that only some kinds of data read.
KINDS_OF: dict[str, tuple[str, ...]] = {
    "split": ("gtsrb",),
    "size": ("folder", "gtsrb", "rendered"),
    "valid_fraction": ("gtsrb",),
    "class_names": ("folder", "npz"),
    "class_table": ("folder", "npz"),
    "label_order": ("folder", "npz"),
    "decode": ("folder", "gtsrb"),
    "max_refused": ("folder",),
}


class DataSettings(Settings):
    """The source of the images.

    kind: layout of the data; "rendered" draws signs and reads nothing.
    path: file or folder; none for rendered signs.
    split: which part of a GTSRB folder.
    frames_per_sign: declared if tracks are unknown; 1 declares independent images. Of rendered signs: how many frames are drawn
        of each, a whole number up to 1000; 10 if it is not set.
    images: size of a random sample (of rendered signs: number of images).
    seed: of the sample or the rendering.
    size: pixels per side after resizing.
    valid_fraction: splits the official GTSRB training signs, whole, into train and valid.
    classes: names or class ids of the classes to use, in the order of the model's outputs; empty for all.
    class_names: the name of each class, in the order of the model's outputs.
    class_table: a CSV file with the columns ClassId and SignName, instead of class_names.
    label_order: how numbers (folder names, labels) become classes: "ids", or sorted as "numbers" or as "text".
    decode: "upright" applies EXIF orientation and composites transparency; "keras" ignores both, as Keras does.
    max_refused: number of unreadable files that may be skipped.
    tracks: CSV file with the columns image and track, for data without track ids; `safeml data tracks` proposes one.
    generated: CSV file with the column image, which lists the images that were generated, not photographed; those not listed are
        photographs.
    targets: CSV file with the column image and a column for each of [[data.targets]], for data that hold no targets themselves.
    """

    kind: Literal["npz", "gtsrb", "folder", "rendered"]
    path: PathText = ""
    split: Literal["train", "valid", "test"] = "test"
    frames_per_sign: Finite | None = Field(default=None, ge=1, le=1_000_000)
    images: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    size: int = Field(default=32, ge=16, le=512)
    valid_fraction: Finite = Field(default=0.0, ge=0, lt=1)
    classes: tuple[str | Annotated[int, Field(ge=0)], ...] = ()
    class_names: tuple[str, ...] = ()
    class_table: PathText = ""
    label_order: Literal["ids", "numbers", "text"] | None = None
    decode: Literal["upright", "keras"] = "upright"
    max_refused: int = Field(default=0, ge=0, le=1_000_000)
    tracks: PathText = ""
    generated: PathText = ""
    targets: PathText = ""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        """Refuse a key that the kind does not read."""
        if self.kind == "rendered" and self.path:
            raise ValueError(
                f"path is {found(self.path)}; images of this kind are rendered, not read; remove it"
            )
        if self.kind != "rendered" and not self.path:
            raise ValueError(f'path is missing; data of kind "{self.kind}" need one')
        for key, kinds in KINDS_OF.items():
            value = getattr(self, key)
            if self.kind not in kinds and value != type(self).model_fields[key].default:
                supporting = " or ".join(f'"{kind}"' for kind in kinds)
                raise ValueError(
                    f"{key} is {found(value)}, but only kind = {supporting} supports it; "
                    f'remove it for data of kind "{self.kind}"'
                )
        if self.kind == "rendered" and not (self.frames_per_sign or 1.0).is_integer():
            raise ValueError(
                f"frames_per_sign is {found(self.frames_per_sign)}; of rendered signs, expected the number of frames that are "
                "drawn of each, a whole number"
            )
        if self.kind == "rendered" and self.targets:
            raise ValueError("targets names a table, but rendered signs know their targets; remove it")
        if self.class_names and self.class_table:
            raise ValueError("class_names and class_table both name the classes; set one of them")
        if self.kind == "gtsrb" and self.split == "valid" and not self.valid_fraction:
            raise ValueError(
                'split is "valid", which GTSRB does not publish; set valid_fraction to take it from the training signs'
            )
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if self.classes and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(
                f"classes names {len(set(self.classes))} different classes in {len(self.classes)} entries; "
                "expected at least two, each once"
            )
        return self


class DataRoles(Settings):
    """The test data of the verdict, and training and validation data (for leakage).

    families: CSV file with the columns class and family; empty: the families of GTSRB where all classes are its signs.
    groups: CSV file with the column image (path in the data folder, or number of the image) and a column for each grouping
        of the test images, such as condition, site or camera.
    targets: what the outputs of a regression model are; empty for a classifier.
    """

    test: DataSettings
    train: DataSettings | None = None
    valid: DataSettings | None = None
    families: PathText = ""
    groups: PathText = ""
    targets: tuple[TargetSettings, ...] = ()

    @model_validator(mode="after")
    def _targets_are_declared(self) -> Self:
        check_targets(self.targets)
        check_tables(self.targets, self.test, self.train, self.valid)
        return self


def check_tables(targets: tuple[TargetSettings, ...], *data: DataSettings | None) -> None:
    """Raise ValueError where data name a table of targets that are not declared."""
    if not targets and any(part is not None and part.targets for part in data):
        raise ValueError(
            "targets names a table of targets, but none is declared; add [[data.targets]] with name, unit and range"
        )
