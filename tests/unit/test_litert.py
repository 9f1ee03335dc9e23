"""LiteRT files of a quantized model: the weights of the other exports, agreement with Keras, and an honest latency."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.errors import InputRefused
from tests.int8_nets import images, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny()


@pytest.fixture(scope="module")
def files(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from safeml.export.litert import convert

    return convert(model, tmp_path_factory.mktemp("litert"), images(32, 1))


def test_the_int8_file_has_the_codes_of_the_keras_kernels(model: Any, files: dict[str, Path]) -> None:
    from safeml.export.litert import open_file

    interpreter, _ = open_file(files["int8"])
    stored = {}
    for tensor in interpreter.get_tensor_details():
        parameters = tensor["quantization_parameters"]
        if tensor["dtype"] == np.int8 and len(parameters["scales"]) > 1:
            assert not parameters["zero_points"].any()
            axis = parameters["quantized_dimension"]
            sides = [-1 if place == axis else 1 for place in range(len(tensor["shape"]))]
            values = interpreter.get_tensor(tensor["index"]) * parameters["scales"].reshape(sides)
            stored[values.size, len(parameters["scales"])] = np.sort(values.ravel())
    for name in ("stem", "depthwise", "project", "last", "logits"):
        expected = np.asarray(model.get_layer(name).quantized_kernel())
        channels = np.asarray(model.get_layer(name).kernel_scale()).size
        assert stored[expected.size, channels] == pytest.approx(np.sort(expected.ravel()), rel=1e-5, abs=1e-7)


def test_the_int8_file_is_integer_throughout(files: dict[str, Path]) -> None:
    from safeml.export.litert import open_file

    interpreter, _ = open_file(files["int8"])
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {end["dtype"] for end in ends} == {np.int8}
    kinds = {tensor["dtype"] for tensor in interpreter.get_tensor_details() if tensor["name"]}
    assert np.float32 not in kinds


def test_the_float_file_is_the_keras_model_without_rounded_activations(
    model: Any, files: dict[str, Path]
) -> None:
    from safeml.export.float_graphs import as_function, plain
    from safeml.export.frozen import freeze
    from safeml.export.litert import outputs

    frozen = freeze(model, None, "tiny")
    calibrated = images(16, 1)  # outside their ranges, the INT8 file saturates
    expected = as_function(plain(frozen), frozen)(calibrated)["logits"].numpy()
    assert outputs(files["float"], calibrated) == pytest.approx(expected, abs=1e-5)
    noise = outputs(files["int8"], calibrated) - expected
    assert 0 < np.sqrt(np.mean(noise**2)) < 0.05 * np.sqrt(np.mean(expected**2))


def test_the_check_states_agreement_latency_and_limits(
    model: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safeml.export.litert import check

    row = check(model, tmp_path, images(32, 1), images(64))
    # LiteRT's native code writes the settings of its converter and the names of delegates.
    assert capfd.readouterr().err == ""
    assert row.status == "passed"
    assert "CPU of this machine at batch 1 on one thread, not of a Jetson" in row.reason
    assert row.facts["agreement"]["int8"] >= 0.95
    assert row.facts["bytes"]["int8"] == (tmp_path / "model.int8.tflite").stat().st_size
    assert (row.facts["batch"], row.facts["threads"]) == (1, 1)
    assert 0 < row.facts["int8_ms"]["median"] <= row.facts["int8_ms"]["p95"]


def test_a_file_that_disagrees_is_not_passed(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeml.export import litert

    monkeypatch.setattr(litert, "outputs", lambda file, pixels: -np.asarray(model.predict(pixels, verbose=0)))
    row = litert.check(model, tmp_path, images(8, 1), images(64))
    assert (row.status, "at least 95%" in row.reason) == ("failed", True)


class Interpreter:
    """Takes `milliseconds` by a clock that only it moves."""

    def __init__(self, clock: list[float], milliseconds: float, order: list[float]) -> None:
        self.clock, self.milliseconds, self.order = clock, milliseconds, order

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0, "quantization": (0.0, 0), "dtype": np.float32}]

    def set_tensor(self, index: int, data: np.ndarray) -> None:
        assert data.shape[0] == 1

    def invoke(self) -> None:
        self.order.append(self.milliseconds)
        first_calls = len(self.order) <= 60  # slow until warm: the warm-up is not counted
        self.clock[0] += self.milliseconds * (100 if first_calls else 1) / 1000


def test_latency_is_a_median_of_alternating_calls_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from safeml.export import litert

    clock, order = [0.0], []
    runs = {
        "f": (Interpreter(clock, 3.0, order), "fake 1"),
        "i": (Interpreter(clock, 1.0, order), "fake 1"),
    }
    monkeypatch.setattr(litert, "open_file", lambda file: runs[str(file)])
    monkeypatch.setattr(litert.time, "perf_counter", lambda: clock[0])
    facts = litert.latency(Path("f"), Path("i"), images(1), calls=20)
    assert order == [3.0, 1.0] * (30 + 20)
    assert (facts["ratio"], facts["runtime"], facts["calls"]) == (3.0, "fake 1", 20)
    assert facts["float_ms"] == {"median": 3.0, "p95": 3.0}


def test_the_deprecated_interpreter_is_named_and_silent(files: dict[str, Path]) -> None:
    from safeml.export.litert import open_file

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, name = open_file(files["int8"])
    assert name.startswith("ai-edge-litert ") or "install 'safeml-suite[litert]'" in name


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 8, 8, 3), np.float32),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.full((2, 8, 8, 3), np.nan, np.float32),
    ],
    ids=["none", "bytes", "NaN"],
)
def test_calibration_images_are_checked(model: Any, tmp_path: Path, bad: np.ndarray) -> None:
    from safeml.export.litert import check, convert

    with pytest.raises(InputRefused, match="expected finite float32 images"):
        convert(model, tmp_path, bad)
    assert check(model, tmp_path, bad, images(4)).status == "failed"
    assert not list(tmp_path.iterdir())


def test_an_operation_that_litert_does_not_have_is_a_failed_check(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from safeml.export.litert import check

    class Converter:
        def convert(self) -> bytes:
            raise ValueError("'tf.Foo' op is neither a custom op nor a flex op")

    monkeypatch.setattr(
        tf.lite.TFLiteConverter, "from_concrete_functions", lambda functions, trackable: Converter()
    )
    row = check(model, tmp_path, images(4), images(4))
    assert (row.status, "tf.Foo" in row.reason) == ("failed", True)
