"""Where images come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from safeml.results import Finite
from safeml.settings.base import PathText, Settings
from safeml.settings.errors import found


class DataSettings(Settings):
    """Where images come from.

    frames_per_sign: declared where tracks are unknown; 1 says that images are independent. images: a random sample of as many
    (of rendered signs: how many are drawn). seed: of the sample or the drawing. size: pixels of a side after resizing.
    valid_fraction: splits the official GTSRB training signs, whole, into train and valid.
    classes: the names of the classes to keep, in the order of their new ids; empty for all.
    """

    kind: Literal["npz", "gtsrb", "folder", "rendered"]
    path: PathText = ""
    split: Literal["train", "valid", "test"] = "test"
    frames_per_sign: Finite | None = Field(default=None, ge=1, le=1_000_000)
    images: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    size: int = Field(default=32, ge=16, le=512)
    valid_fraction: Finite = Field(default=0.0, ge=0, lt=1)
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        """A key that the kind does not read would be a promise that nobody keeps."""
        if self.kind == "rendered" and self.path:
            raise ValueError(f"path is {found(self.path)}; signs of this kind are drawn, not read: remove it")
        if self.kind != "rendered" and not self.path:
            raise ValueError(f'path is missing; data of kind "{self.kind}" are read from somewhere')
        if self.kind != "gtsrb" and self.valid_fraction:
            raise ValueError(
                f'valid_fraction is {self.valid_fraction:g}, and is for kind = "gtsrb" alone: '
                f'nothing is split off data of kind "{self.kind}"'
            )
        if self.kind == "gtsrb" and self.split == "valid" and not self.valid_fraction:
            raise ValueError(
                'split is "valid", which GTSRB does not publish; set valid_fraction to take it from the training signs'
            )
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if self.classes and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(
                f"classes names {len(set(self.classes))} different classes in {len(self.classes)} entries; expected at least two, each once"
            )
        return self


class DataRoles(Settings):
    """The data that the verdict is spoken on, and (for leakage) what the model was trained and chosen on."""

    test: DataSettings
    train: DataSettings | None = None
    valid: DataSettings | None = None
