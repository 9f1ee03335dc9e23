"""The store: files are whole or absent, and what is not exactly what was written is measured again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from safeml.errors import ConfigError, InputRefused
from safeml.results import Metric, StageResult
from safeml.store.files import atomic_write, content_key, read_run
from safeml.store.journal import Journal, KeptStage

RESULT = StageResult(
    stage="performance",
    title="Performance",
    metrics=[Metric(name="a", title="A", value=0.5, low=0.4, high=0.6, n=10)],
)
CALLS = ("fdopen", "fsync", "chmod", "replace", "open")


def _nothing_but(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_failure_at_any_call_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    target = tmp_path / "results.json"
    atomic_write(target, "old")
    real = getattr(os, call)

    def fails(*arguments: object, **options: object) -> object:
        if call == "open" and arguments[0] != target.parent:
            return real(*arguments, **options)
        raise error

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(type(error)):
        atomic_write(target, "new")
    monkeypatch.undo()
    assert target.read_text() in ("old", "new")
    assert target.read_text() == ("new" if call == "open" else "old")
    assert _nothing_but(tmp_path, "results.json")


def test_a_finished_stage_comes_back_under_its_key_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.keep_stage(RESULT, "k1", 1.5)
    assert journal.stage("performance", "k1") == KeptStage(RESULT, 1.5)
    assert journal.recomputed == []
    assert journal.stage("performance", "k2") is None
    assert journal.stage("balance", "k1") is None
    assert [(entry.entry, entry.reason) for entry in journal.recomputed] == [
        ("stages/performance.json", "was measured from other evidence")
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.5", "0.9"),
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: text.replace("performance", "balance"),
        lambda text: "null",
    ],
)
def test_a_damaged_or_edited_stage_is_measured_again(tmp_path: Path, damage: object) -> None:
    journal = Journal(tmp_path)
    journal.keep_stage(RESULT, "k1", 1.5)
    path = tmp_path / "stages" / "performance.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    assert journal.stage("performance", "k1") is None
    assert [entry.reason for entry in journal.recomputed] == ["is damaged or was edited"]


def test_equal_content_has_equal_keys_whatever_its_order() -> None:
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": [1, 2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        content_key({"a": float("nan")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "results.json: Input should be"),
        ('{"title": "\\ud800"}', "surrogates not allowed"),
        ('{"title": "\\uDFFFx"}', "surrogates not allowed"),
        ("{}".encode("utf-16"), "not valid JSON"),
        ("{}", "expected results.json"),
        ('{"schema_version": 2}', "newer than this safeml"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ("[" * 100_000, "not valid JSON"),
        (json.dumps({"schema_version": 1, "verdict": {"status": "passed"}}), "expected results.json"),
    ],
)
def test_results_that_are_not_whole_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputRefused) as caught:
        read_run(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_absent_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="there is no such file"):
        read_run(tmp_path)


def test_a_device_is_not_replaced_by_a_file() -> None:
    null = Path("/dev/null")
    with pytest.raises(ConfigError, match="is a device"):
        atomic_write(null, "text")
    assert null.is_char_device()
