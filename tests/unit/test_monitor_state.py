"""The state of a monitor on disk: it returns as it was written, or is refused with a sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from safeml.monitors.errors import MonitorRefused
from safeml.monitors.state import ARRAYS, DESCRIPTION, MOST_ARRAY_BYTES, State, load_state, save_state

STATE = State(
    "a" * 64,
    3,
    2,
    {"score": "energy", "score_threshold": -1.5},
    {"mean": np.arange(6, dtype=np.float32).reshape(3, 2), "known": np.array([True, False, True])},
)


def written(folder: Path) -> State:
    return save_state(str(folder), STATE)


def changed(folder: Path, **values: object) -> None:
    """Write other values into the description."""
    file = folder / DESCRIPTION
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def read(folder: Path, model: str = "a" * 64, classes: int = 3, features: int = 2) -> State:
    return load_state(str(folder), model, classes, features)


def test_a_state_returns_as_it_was_written_and_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    one = written(tmp_path)
    two = read(tmp_path)
    assert (two.fingerprint, two.settings) == (one.fingerprint, STATE.settings)
    for name, array in STATE.arrays.items():
        assert two.arrays[name].dtype == array.dtype
        assert two.arrays[name].tolist() == array.tolist()
    before = (tmp_path / ARRAYS).read_bytes(), (tmp_path / DESCRIPTION).read_bytes()
    written(tmp_path)
    assert before == ((tmp_path / ARRAYS).read_bytes(), (tmp_path / DESCRIPTION).read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir()) == [DESCRIPTION, ARRAYS]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "b" * 64}, "the model of the state"),
        ({"classes": 4}, "the classes"),
        ({"features": 5}, "the features"),
    ],
)
def test_the_state_of_another_model_or_size_is_refused(given, words, tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(MonitorRefused, match=words):
        read(tmp_path, **given)


@pytest.mark.parametrize("name", [ARRAYS, DESCRIPTION])
def test_every_truncated_file_is_refused(name, tmp_path: Path) -> None:
    written(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for length in [*range(0, len(whole) - 1, 37), len(whole) - 1 - (name == DESCRIPTION)]:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(MonitorRefused):
            read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(MonitorRefused, match="no such file"):
        read(tmp_path)


def test_every_changed_byte_of_the_arrays_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    whole = bytearray((tmp_path / ARRAYS).read_bytes())
    for place in range(0, len(whole), 41):
        (tmp_path / ARRAYS).write_bytes(bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]]))
        with pytest.raises(MonitorRefused, match="sha256"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"more": 1}, "other keys"),
        ({"settings": []}, "not tables"),
        ({"arrays": {"mean": ["object", [3]]}}, "type and shape"),
        ({"arrays": {"mean": ["float32", [-1]]}}, "type and shape"),
        ({"arrays": {"mean": ["float32", [1 << 23]]}}, "declares arrays"),
        ({"arrays": {"mean": ["float32", [3, 2]]}}, "other arrays"),
        ({"arrays": {"mean": ["float32", [2, 3]], "known": ["bool", [3]]}}, "declared type and shape"),
        ({"arrays": {"mean": ["float64", [3, 2]], "known": ["bool", [3]]}}, "declared type and shape"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(values, words, tmp_path: Path) -> None:
    written(tmp_path)
    changed(tmp_path, **values)
    with pytest.raises(MonitorRefused, match=words):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "NaN", '{"format": Infinity}'])
def test_a_description_that_is_no_table_is_refused(text, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(MonitorRefused):
        read(tmp_path)


def test_compressed_arrays_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    np.savez_compressed(tmp_path / ARRAYS, **STATE.arrays)
    changed(tmp_path, sha256=hashlib.sha256((tmp_path / ARRAYS).read_bytes()).hexdigest())
    with pytest.raises(MonitorRefused, match="compressed"):
        read(tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_state(str(tmp_path), STATE._replace(arrays={"mean": np.array([np.nan], np.float32)}))
    with pytest.raises(MonitorRefused, match="not finite"):
        read(tmp_path)


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    written(tmp_path)
    with (tmp_path / ARRAYS).open("r+b") as file:
        file.truncate(MOST_ARRAY_BYTES + (1 << 17))
    with pytest.raises(MonitorRefused, match="larger than"):
        read(tmp_path)


def test_a_state_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    large = STATE._replace(arrays={"mean": np.zeros(MOST_ARRAY_BYTES // 4 + 1, np.float32)})
    with pytest.raises(MonitorRefused, match="fewer features"):
        save_state(str(tmp_path), large)
    with pytest.raises(MonitorRefused, match="expected one of"):
        save_state(str(tmp_path), STATE._replace(arrays={"mean": np.array(["a"], object)}))
    assert not list(tmp_path.iterdir())
