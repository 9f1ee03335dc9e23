"""LiteRT files of a quantized model, float and INT8, and their latency on this CPU. Legend: N images, H W C pixels, K classes.

Both come from the float weights of the fake-quantized model, which are on their grid, so the INT8 file has the codes of the
other exports. Its activations have not: LiteRT gives them ranges with a zero point, from its own calibration.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from safeml import framework
from safeml.errors import InputRefused, first_line
from safeml.export.checks import Check
from safeml.export.float_graphs import as_function, plain
from safeml.export.frozen import freeze

NAME = "litert"
FLOAT_FILE, INT8_FILE = "model.float.tflite", "model.int8.tflite"
# Below it, the latency is that of another classifier.
LEAST_AGREEMENT = 0.95
WARM_UP, CALLS = 30, 300
LIMITS = (
    "The latency is that of the CPU of this machine at batch 1 on one thread, not of a Jetson. LiteRT calibrates activations"
    " itself, with a zero point, so its outputs are not those of the ONNX file."
)
DEPRECATED = "tf.lite.Interpreter of TensorFlow {}, which is deprecated; install 'safeml-suite[litert]' for ai-edge-litert"


def convert(model: Any, folder: Path, calibration: np.ndarray) -> dict[str, Path]:
    """Write the float and the INT8 file into `folder` and return their paths as "float" and "int8".

    model: fake-quantized keras.Model. calibration: float32 [N, H, W, C] in the values that the model takes, N >= 1. The INT8
    file takes and gives INT8 codes. Raises InputRefused where LiteRT cannot convert an operation.
    """
    import tensorflow as tf

    if calibration.dtype != np.float32 or not len(calibration) or not np.isfinite(calibration).all():
        raise InputRefused(
            f"{model.name}: its calibration images are {calibration.dtype} {list(calibration.shape)}; expected finite float32 "
            "images, at least one."
        )
    frozen = freeze(model, 1, model.name)
    serve = as_function(plain(frozen), frozen)
    files = {"float": folder / FLOAT_FILE, "int8": folder / INT8_FILE}
    for kind, file in files.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], serve)
        if kind == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _one_by_one(calibration)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        try:
            with warnings.catch_warnings(), framework.without_native_messages():
                warnings.simplefilter("ignore")  # it names calibration statistics that are not used
                file.write_bytes(converter.convert())
        except Exception as error:
            raise InputRefused(
                f"{model.name}: LiteRT does not convert it to {kind} ({first_line(error)}); leave LiteRT out of the export."
            ) from error
    return files


def check(model: Any, folder: Path, calibration: np.ndarray, images: np.ndarray) -> Check:
    """Write both files, and return how often the INT8 file agrees with `model` and how fast both are.

    images: float32 [N, H, W, C] in the values that the model takes, N >= 1. See `convert`.
    """
    try:
        files = convert(model, folder, calibration)
    except InputRefused as error:
        return Check(NAME, "failed", str(error))
    expected = np.asarray(model.predict(images, verbose=0)).argmax(1)
    agreement = {
        kind: float((outputs(file, images).argmax(1) == expected).mean()) for kind, file in files.items()
    }
    facts = {
        "images": len(images),
        "agreement": agreement,
        "bytes": {kind: file.stat().st_size for kind, file in files.items()},
        **latency(files["float"], files["int8"], images),
    }
    words = (
        f"LiteRT INT8 gives the class of the fake-quantized Keras model for {agreement['int8']:.1%} of {len(images)} images. "
        f"A call takes {facts['int8_ms']['median']:.2f} ms against {facts['float_ms']['median']:.2f} ms in float "
        f"({facts['ratio']:.1f} times as fast)."
    )
    if not agreement["int8"] >= LEAST_AGREEMENT:
        return Check(
            NAME, "failed", f"{words} Expected an agreement of at least {LEAST_AGREEMENT:.0%}.", facts
        )
    return Check(NAME, "passed", f"{words} {LIMITS}", facts)


def open_file(file: Path) -> tuple[Any, str]:
    """Return an interpreter on one thread with its tensors allocated, and its name and version."""
    try:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        name = f"ai-edge-litert {ai_edge_litert.__version__}"
    except ImportError:
        import tensorflow as tf

        Interpreter, name = tf.lite.Interpreter, DEPRECATED.format(tf.__version__)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter is deprecated")
        interpreter = Interpreter(model_path=str(file), num_threads=1)
    with framework.without_native_messages():  # the names of delegates
        interpreter.allocate_tensors()
    return interpreter, name


def outputs(file: Path, images: np.ndarray) -> np.ndarray:
    """Return the outputs of the file for float32 images [N, H, W, C] as float32 [N, K]; codes are dequantized."""
    interpreter, _ = open_file(file)
    rows = []
    for image in images:
        _call(interpreter, _coded(interpreter, image))
        (end,) = interpreter.get_output_details()
        row = np.asarray(interpreter.get_tensor(end["index"])[0], np.float32)
        scale, zero = end["quantization"]
        rows.append((row - zero) * np.float32(scale) if scale else row)
    return np.asarray(rows)


def latency(float_file: Path, int8_file: Path, images: np.ndarray, calls: int = CALLS) -> dict[str, Any]:
    """Return median and 95th percentile of the milliseconds of one call of each file, at batch 1 on one thread.

    images: float32 [N, H, W, C], N >= 1; the first is classified. The calls of both files alternate after a warm-up, so that
    a change in the load of the machine meets both. ratio: median of the float file over that of the INT8 file.
    """
    runs = {}
    for kind, file in (("float", float_file), ("int8", int8_file)):
        interpreter, runtime = open_file(file)
        runs[kind] = interpreter, _coded(interpreter, images[0])
    spent: dict[str, list[float]] = {kind: [] for kind in runs}
    for turn in range(WARM_UP + calls):
        for kind, (interpreter, data) in runs.items():
            start = time.perf_counter()
            _call(interpreter, data)
            if turn >= WARM_UP:
                spent[kind].append(1000 * (time.perf_counter() - start))
    medians = {kind: float(np.median(one)) for kind, one in spent.items()}
    return {
        "runtime": runtime,
        "threads": 1,
        "batch": 1,
        "calls": calls,
        **{
            f"{kind}_ms": {"median": round(medians[kind], 4), "p95": round(float(np.quantile(one, 0.95)), 4)}
            for kind, one in spent.items()
        },
        "ratio": round(medians["float"] / medians["int8"], 2),
    }


def _call(interpreter: Any, data: np.ndarray) -> None:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], data)
    interpreter.invoke()


def _coded(interpreter: Any, image: np.ndarray) -> np.ndarray:
    """Return the image as the file takes it: [1, H, W, C], float32 or INT8 codes."""
    (entry,) = interpreter.get_input_details()
    scale, zero = entry["quantization"]
    if not scale:
        return np.asarray(image[None], np.float32)
    codes = np.rint(image[None] / np.float32(scale)) + zero
    limits = np.iinfo(entry["dtype"])
    return np.clip(codes, limits.min, limits.max).astype(entry["dtype"])


def _one_by_one(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    return ([image[None]] for image in images)
