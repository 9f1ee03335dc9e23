"""Settings of the backend "tfmot"; each end of its child process is one sentence, and none is a result by accident."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safeml.config.quantization import QuantizeSettings
from safeml.errors import ConfigError, ExitCode, InputRefused, SafemlError, StageError
from safeml.quantization.tfmot import process


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CHILD", "tests.unit.tfmot_child")


def acting(folder: Path, act: str) -> Path:
    (folder / "act").write_text(act)
    return folder


def test_its_epochs_and_facts_arrive(tmp_path: Path) -> None:
    epochs: list[dict[str, Any]] = []
    assert process.run(acting(tmp_path, "answer"), epochs.append) == {"float_difference": 0.0}
    assert [epoch["epoch"] for epoch in epochs] == [1]
    assert epochs[0]["legacy"] == "1"
    assert "TF_USE_LEGACY_KERAS" not in os.environ


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        ("refuse", InputRefused, "without a form in Keras 2"),
        ("fail", StageError, "the loss is not finite"),
        (
            "raise",
            StageError,
            r"exit code 1 and no result \(ImportError: no module named tf_keras\); use backend",
        ),
        ("be killed", StageError, "was ended by SIGKILL, perhaps for lack of memory; use backend"),
        ("be killed in a line", StageError, "was ended by SIGKILL"),
        ("answer and exit 3", StageError, "exit code 3"),
        ("say nothing", StageError, "exit code 0 and no result; use backend"),
    ],
)
def test_each_failure_is_one_sentence(act: str, error: type[SafemlError], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        process.run(acting(tmp_path, act), lambda epoch: None)


def test_an_interruption_ends_the_child(tmp_path: Path) -> None:
    children: list[int] = []

    def interrupted(epoch: dict[str, Any]) -> None:
        children.append(epoch["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(acting(tmp_path, "wait"), interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)


def test_a_missing_package_is_named_before_the_child_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tf_keras" else found(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"pip install tf-keras`, or use backend = \"keras\"") as refused:
        process.check_installed()
    assert refused.value.exit_code == ExitCode.USAGE


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "backend": "tfmot",
    "epochs": 2,
    "model": {"path": "model.keras"},
    "data": {"train": {"kind": "npz", "path": "train.npz"}, "valid": {"kind": "npz", "path": "valid.npz"}},
}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"adversarial": {"epsilon": 0.01}}, r"\[adversarial\]"),
        ({"weight_average": 0.9}, "weight_average"),
        ({"prune": {}}, r"\[prune\]"),
    ],
)
def test_what_the_child_cannot_train_with_is_an_error_of_the_settings(
    setting: dict[str, Any], name: str
) -> None:
    QuantizeSettings.model_validate(RECIPE)
    QuantizeSettings.model_validate({**RECIPE, **setting, "backend": "keras"})
    with pytest.raises(ValidationError, match=f'backend = "tfmot" does not support {name}; remove it'):
        QuantizeSettings.model_validate({**RECIPE, **setting})
