"""The cache of engines: an engine and its record are authenticated before they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safeml.edge.engine_cache import REASONS, EngineCache, EngineKey


def test_the_key_of_the_cache_is_made_anew_where_others_may_read_it(tmp_path: Path) -> None:
    first = EngineCache(str(tmp_path))
    path = tmp_path / "engines" / "engine.key"
    path.chmod(0o644)
    second = EngineCache(str(tmp_path))
    assert second.fresh_key
    assert second.key != first.key
    assert path.stat().st_mode & 0o777 == 0o600


KEY = EngineKey("a" * 64, "10.3.0", "8.7", "Jetson Orin Nano", "12.6", "36.4.3", "{}")


def test_an_engine_that_is_stored_is_read_back_for_its_key_alone(tmp_path: Path) -> None:
    EngineCache(str(tmp_path)).store(KEY, b"engine", {"layers": {"Int8": 3}})
    cache = EngineCache(str(tmp_path))
    assert cache.load(KEY) == (b"engine", "", {"layers": {"Int8": 3}})
    for field in KEY._fields:
        assert cache.load(KEY._replace(**{field: "other"})).reason == "absent"


def test_an_engine_of_another_device_is_not_loaded_with_its_record(tmp_path: Path) -> None:
    """The files of a device with another key are copied whole."""
    EngineCache(str(tmp_path / "theirs")).store(KEY, b"theirs", {})
    cache = EngineCache(str(tmp_path / "ours"))
    for path in Path(EngineCache(str(tmp_path / "theirs")).folder).glob(KEY.name() + "*"):
        (Path(cache.folder) / path.name).write_bytes(path.read_bytes())
    assert EngineCache(str(tmp_path / "ours")).load(KEY) == (None, "wrong-key", {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: b"", "index-damaged"),
        (lambda index: b"{}", "index-damaged"),
        (lambda index: b'{"signed": NaN, "hmac": ""}', "index-damaged"),
        (lambda index: b'{"signed": {"bytes": 1e999}, "hmac": "00"}', "index-damaged"),
        (lambda index: b"[" * 5000, "index-damaged"),
        (lambda index: index.replace(b'"bytes":6', b'"bytes":7'), "wrong-key"),
        (lambda index: index.replace(b'"hmac":"', b'"hmac":"0'), "index-damaged"),
        (lambda index: index.replace(b"Orin", b"Nano"), "wrong-key"),
    ],
)
def test_a_record_of_an_engine_that_was_changed_is_not_believed(
    change: Any, reason: str, tmp_path: Path
) -> None:
    EngineCache(str(tmp_path)).store(KEY, b"engine", {"layers": {"Int8": 3}})
    cache = EngineCache(str(tmp_path))
    (index,) = Path(cache.folder).glob("*.json")
    index.write_bytes(change(index.read_bytes()))
    assert cache.load(KEY) == (None, reason, {})
    assert reason in REASONS


def test_a_record_under_the_name_of_another_engine_is_not_believed(tmp_path: Path) -> None:
    """Both files are authentic, but they belong to another ONNX file."""
    cache = EngineCache(str(tmp_path))
    other = KEY._replace(onnx="b" * 64)
    cache.store(KEY, b"engine", {"layers": {"Int8": 3}})
    for ending in (".json", ".engine"):
        source = Path(cache.folder) / (KEY.name() + ending)
        source.rename(source.with_name(other.name() + ending))
    assert cache.load(other).reason == "index-damaged"


def test_a_lost_key_is_the_reason_that_is_recorded(tmp_path: Path) -> None:
    cache = EngineCache(str(tmp_path))
    cache.store(KEY, b"engine", {"layers": {"Int8": 3}})
    (Path(cache.folder) / "engine.key").unlink()
    assert EngineCache(str(tmp_path)).load(KEY).reason == "new-key"
