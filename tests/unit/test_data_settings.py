"""Every key of a data source reaches its loader, or is refused; none is accepted and ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from safeml.data import place
from safeml.data.load import options_of
from safeml.data.place import Place
from safeml.data.rendered.tracks import render
from safeml.errors import ConfigError
from safeml.settings.data import DataSettings

KINDS = get_args(DataSettings.model_fields["kind"].annotation)
# A value that is not the default, of each key that belongs to some kinds only.
OTHER: dict[str, Any] = {
    "split": "train",
    "size": 48,
    "valid_fraction": 0.25,
    "class_names": ("stop", "yield"),
    "class_table": "classes.csv",
    "label_order": "numbers",
    "decode": "keras",
    "max_refused": 3,
    "frames_per_sign": 5.0,
    "images": 86,
    "seed": 11,
}
# Applied to the loaded data, whatever its kind.
APPLIED_AFTERWARDS = {"frames_per_sign", "images", "seed"}


class Loaded(Exception):
    """Ends a loading with the options that it was asked for."""


def options(settings: DataSettings, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    """Return what the loader of the settings' kind is called with."""

    def stop(kind: str, path: str, **options: Any) -> None:
        raise Loaded(options)

    monkeypatch.setattr(place, "load_dataset", stop)
    with pytest.raises(Loaded) as loaded:
        Place(folder, folder).plain(settings)
    asked: dict[str, Any] = loaded.value.args[0]
    return asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", OTHER)
def test_a_key_reaches_the_loader_or_is_refused(
    kind: str, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"kind": kind, "path": "" if kind == "rendered" else ".", key: OTHER[key]}
    if key in options_of(kind) and (kind == "rendered" or key not in APPLIED_AFTERWARDS):
        asked = options(DataSettings.model_validate(given), monkeypatch, tmp_path)[key]
        assert asked == (tmp_path / OTHER[key] if key == "class_table" else OTHER[key])
    elif key in APPLIED_AFTERWARDS:
        DataSettings.model_validate(given)
    else:
        with pytest.raises(ValidationError, match=f"{key} is .*; remove it for data of kind"):
            DataSettings.model_validate(given)


def test_rendered_signs_have_as_many_frames_as_the_settings_say(tmp_path: Path) -> None:
    settings = DataSettings(kind="rendered", images=129, seed=4, frames_per_sign=3)
    data = Place(tmp_path, tmp_path).plain(settings)
    assert data.tracks is not None
    _, frames = np.unique(data.tracks, return_counts=True)
    assert frames.tolist() == [3] * 43
    assert np.array_equal(data.images, render(129, seed=4, frames_per_sign=3).images)


def test_ten_frames_are_the_default(tmp_path: Path) -> None:
    drawn = [
        Place(tmp_path, tmp_path).plain(DataSettings(kind="rendered", images=30, frames_per_sign=frames))
        for frames in (None, 10)
    ]
    assert np.array_equal(drawn[0].images, drawn[1].images)


def test_a_sign_cannot_be_drawn_in_part() -> None:
    with pytest.raises(ValidationError, match=r"frames_per_sign is 2\.5; .* a whole number"):
        DataSettings(kind="rendered", frames_per_sign=2.5)


def test_too_many_frames_are_refused_by_the_renderer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frames_per_sign is 1001; give a number from 1 to 1000"):
        Place(tmp_path, tmp_path).plain(DataSettings(kind="rendered", images=30, frames_per_sign=1001))
