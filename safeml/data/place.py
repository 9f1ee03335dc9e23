"""The location of the configured data."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from safeml.data.class_tables import read_costs, read_families
from safeml.data.dataset import ImageDataset
from safeml.data.group_table import with_groups
from safeml.data.groups import add_pixel_groups
from safeml.data.image_tables import with_generated, with_quantities, with_tracks
from safeml.data.load import load_dataset
from safeml.data.targets import targets_of
from safeml.errors import ConfigError, InputRefused
from safeml.settings.data import DataRoles, DataSettings
from safeml.settings.hazard import HazardSettings
from safeml.settings.targets import TargetSettings

RENDERED_IMAGES = 4300
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """The base folder of relative paths: the folder of the settings, or --data-root."""

    base: Path
    data_root: Path | None = None

    @property
    def root(self) -> Path:
        return self.base if self.data_root is None else self.data_root

    def recorded(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of a run as its results record them."""
        return configuration

    def data(self, settings: DataSettings, targets: tuple[TargetSettings, ...] = ()) -> ImageDataset:
        """Load the configured data; declared clustering applies if tracks are unknown.

        targets: of a regression; () for a classifier.
        """
        return add_pixel_groups(self.targeted(settings, targets))

    def targeted(self, settings: DataSettings, targets: tuple[TargetSettings, ...]) -> ImageDataset:
        """Load the data with the targets of a regression, without the columns measured from pixels.

        A regression needs no classes: data of one class, or of none, are accepted.
        """
        if not targets:
            return self.plain(settings)
        data = self.plain(settings, least_classes=1)
        if settings.targets:
            names = tuple(target.name for target in targets)
            data = with_quantities(data, self.file(settings.targets, "targets"), names)
        return replace(data, targets=targets_of(data.quantities, targets, data.name))

    def test(self, roles: DataRoles, hazard: HazardSettings) -> ImageDataset:
        """Load the test data, with the groups of its images and the families and costs of its classes where they are configured."""
        data = self.data(roles.test, roles.targets)
        if roles.families:
            families = read_families(self.file(roles.families, "data.families"), data.class_names)
            data = replace(data, groups={**data.groups, "family": np.array(families)[data.labels]})
        if roles.groups:
            data = with_groups(data, self.file(roles.groups, "data.groups"))
        if hazard.costs:
            data = replace(data, costs=read_costs(self.file(hazard.costs, "hazard.costs"), data.class_names))
        return data

    def file(self, path: str, key: str) -> Path:
        """Return a file that lies beside the settings. Raises ConfigError with the setting `key` if there is none."""
        file = self.base / path
        if not file.is_file():
            problem = "is not a file" if os.path.lexists(file) else "does not exist"
            raise ConfigError(
                f"{key}: {file} {problem}; expected a CSV file, relative to the folder of the settings."
            )
        return file

    def plain(self, settings: DataSettings, least_classes: int = 2) -> ImageDataset:
        """Load the data without the columns measured from pixels, which take longer than reading.

        least_classes: fewest classes; 1 for images whose labels are not read.
        What is read differently from Keras, or left out, is logged as a warning.
        """
        classes: dict[str, Any] = {"class_names": settings.class_names}
        if settings.class_table:
            classes["class_table"] = self.root / settings.class_table
        if settings.label_order is not None:
            classes["label_order"] = settings.label_order
        by_kind: dict[str, dict[str, Any]] = {
            "npz": classes,
            "gtsrb": {
                "split": settings.split,
                "size": settings.size,
                "valid_fraction": settings.valid_fraction,
                "decode": settings.decode,
            },
            "folder": {
                "size": settings.size,
                "decode": settings.decode,
                "max_refused": settings.max_refused,
                **classes,
            },
            "rendered": {
                "images": settings.images or RENDERED_IMAGES,
                "seed": settings.seed,
                "size": settings.size,
            },
        }
        if settings.frames_per_sign is not None:
            by_kind["rendered"]["frames_per_sign"] = int(settings.frames_per_sign)
        path = str(self.root / settings.path) if settings.path else ""
        if path and not os.path.exists(path):
            raise ConfigError(
                f"{path}: does not exist; relative data paths start at {self.root}, or at the folder in --data-root or "
                "SAFEML_DATA_ROOT."
            )
        data = load_dataset(settings.kind, path, **by_kind[settings.kind])
        if settings.classes:
            data = data.only(settings.classes)
        if data.classes < least_classes:
            raise InputRefused(f"{data.name}: has one class; expected at least 2.")
        if settings.frames_per_sign is not None and data.frames_per_sign is None:
            data = replace(data, frames_per_sign=settings.frames_per_sign)
        if settings.tracks:
            data = with_tracks(data, self.file(settings.tracks, "tracks"))
        if settings.generated:
            data = with_generated(data, self.file(settings.generated, "generated"))
        if settings.images is not None and settings.kind != "rendered":
            data = data.sample(settings.images, settings.seed)
        for note in data.notes:
            _log.warning("%s: %s", data.name, note)
        return data
