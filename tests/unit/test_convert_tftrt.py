"""The conversion script for the device, with a stand-in for TensorFlow: what it converts, refuses, and does not pass."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "safeml" / "export" / "convert_tftrt.py"
FAKE = Path(__file__).parent / "fake_tensorflow"
CLASSES = 3


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that an export writes, around a stand-in for the SavedModel."""
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "fake.json").write_text("{}")
    images = np.random.default_rng(0).random((5, 4, 4, CLASSES), np.float32)
    outputs = images.mean((1, 2))
    np.savez(tmp_path / "golden.npz", images=images, outputs=outputs)
    np.savez(tmp_path / "test.npz", images=images, labels=outputs.argmax(1))
    return tmp_path


def run(
    place: Path, *options: str, version: str = "2.17.0", trt: str = "yes", path: Path | None = FAKE
) -> tuple[int, Any, str]:
    """Exit code, report (None without one) and error text."""
    environment = {**os.environ, "FAKE_TF": version, "FAKE_TRT": trt, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    child = subprocess.run(
        [sys.executable, place / "convert_tftrt.py", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in child.stderr, child.stderr
    record = place / "converted" / "conversion.json"
    report = json.loads(record.read_text()) if record.exists() else None
    return child.returncode, report, child.stderr


def statuses(report: Any) -> dict[str, str]:
    return {gate["name"]: gate["status"] for gate in report["gates"]}


def test_int8_comes_from_the_ranges_and_every_gate_passes(place: Path) -> None:
    code, report, _ = run(place, "--test", str(place / "test.npz"))
    assert code == 0
    assert (report["tensorflow"], report["precision"]) == ("2.17.0", "INT8")
    assert set(statuses(report)) == {"engines", "golden_before", "golden_after", "accuracy"}
    assert set(statuses(report).values()) == {"passed"}
    asked = json.loads((place / "converted" / "fake.json").read_text())
    assert (asked["precision"], asked["calibration"], asked["batch"]) == ("INT8", False, 1)


def test_a_larger_batch_is_padded(place: Path) -> None:
    code, report, _ = run(place, "--batch", "2", "--test", str(place / "test.npz"))
    assert (code, report["batch"]) == (0, 2)


def test_a_batch_larger_than_the_golden_images_is_padded(place: Path) -> None:
    assert run(place, "--batch", "8", "--test", str(place / "test.npz"))[0] == 0


def test_without_test_images_nothing_is_proven(place: Path) -> None:
    code, report, _ = run(place)
    assert code == 3
    assert statuses(report)["accuracy"] == "not_run"


@pytest.mark.parametrize(
    ("trt", "gate"), [("untouched", "engines"), ("inexact", "golden_after"), ("inexact", "accuracy")]
)
def test_a_conversion_that_is_not_one_fails(place: Path, trt: str, gate: str) -> None:
    code, report, _ = run(place, "--test", str(place / "test.npz"), trt=trt)
    assert (code, statuses(report)[gate]) == (1, "failed")


def test_golden_outputs_of_another_model_fail(place: Path) -> None:
    with np.load(place / "golden.npz") as golden:
        np.savez(place / "golden.npz", images=golden["images"], outputs=-golden["outputs"])
    code, report, _ = run(place, "--test", str(place / "test.npz"))
    assert (code, statuses(report)["golden_before"]) == (1, "failed")


def test_outputs_that_are_not_finite_fail(place: Path) -> None:
    with np.load(place / "golden.npz") as golden:
        images = golden["images"].copy()
        images[0] = np.nan
        np.savez(place / "golden.npz", images=images, outputs=golden["outputs"])
    code, report, _ = run(place, "--test", str(place / "test.npz"))
    assert (code, statuses(report)["golden_after"]) == (1, "failed")


def test_fallbacks_by_option(place: Path) -> None:
    calibration = str(place / "golden.npz")
    assert run(place, "--precision", "INT8-calibrated", "--calibration", calibration)[0] == 3
    asked = json.loads((place / "converted" / "fake.json").read_text())
    assert (asked["precision"], asked["calibrated_on"]) == ("INT8", 5)
    shutil.rmtree(place / "converted")
    assert run(place, "--precision", "FP16")[0] == 3
    assert json.loads((place / "converted" / "fake.json").read_text())["precision"] == "FP16"


@pytest.mark.parametrize(
    ("options", "kinds", "words"),
    [
        ((), {"version": "2.18.0"}, "2.18.0 has no TF-TRT; 2.17 was the last"),
        ((), {"version": "3.0.0"}, "has no TF-TRT"),
        ((), {"trt": "no"}, "has not been built with TensorRT support"),
        ((), {"trt": "abort"}, "does not start here (exit -6"),
        ((), {"trt": "no build"}, "Specified device is not a GPU"),
        (("--precision", "INT8-calibrated"), {}, "needs --calibration"),
        (("--test", "absent.npz"), {}, "absent.npz: cannot be read"),
        (("--test", "golden.npz"), {}, "expected images and labels"),
    ],
)
def test_every_refusal_is_a_sentence(
    place: Path, options: tuple[str, ...], kinds: dict[str, str], words: str
) -> None:
    named = tuple(str(place / option) if option == "golden.npz" else option for option in options)
    code, report, error = run(place, *named, **kinds)
    assert (code, report) == (4, None)
    assert words in error
    if kinds and kinds != {"trt": "no build"}:
        assert "trtexec --onnx=model.int8.onnx" in error


def test_an_earlier_result_is_not_overwritten(place: Path) -> None:
    (place / "converted").mkdir()
    code, _, error = run(place)
    assert code == 4
    assert "is there already" in error


def test_a_batch_of_none_is_a_usage_error(place: Path) -> None:
    code, _, error = run(place, "--batch", "0")
    assert (code, "expected at least 1" in error) == (2, True)


@pytest.mark.slow
def test_the_tensorflow_that_is_installed_is_refused(place: Path) -> None:
    """The class is there, and its construction raises."""
    import tensorflow as tf

    code, report, error = run(place, path=None)
    assert (code, report) == (4, None)
    assert f"TensorFlow {tf.__version__} has no TF-TRT" in error
    with pytest.raises(RuntimeError, match="not been built with TensorRT"):
        tf.experimental.tensorrt.Converter(input_saved_model_dir="saved_model")


def test_the_script_is_for_python_3_8_and_alone() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules - set(sys.stdlib_module_names) == {"numpy", "tensorflow"}
    assert isinstance(
        tree.body[1], ast.ImportFrom
    )  # annotations are not evaluated: | and dict[...] are newer than 3.8
    assert tree.body[1].module == "__future__"
    # Names and arguments of Python 3.9 and newer that the script could use by accident.
    newer = r"removeprefix|removesuffix|strict=|zip\(.*strict|functools\.cache\b|match "
    assert not re.search(newer, SCRIPT.read_text(encoding="utf-8"))
