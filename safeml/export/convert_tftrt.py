#!/usr/bin/env python3
"""Convert the SavedModel beside this file with TF-TRT, on the device that serves it, and check the result.

    python3 convert_tftrt.py -o converted --test test.npz

It needs NumPy and a TensorFlow up to 2.17 that was built with TensorRT, and runs on Python 3.8 and newer. By default INT8 takes
its scales from the FakeQuant ranges of the model. `--precision INT8-calibrated` calibrates on images instead, and `--precision
FP16` is for devices without INT8 (Nano, TX1, TX2).

`test.npz` has `images`, float32 [N, H, W, C] in the values that the model takes, and `labels`, int [N]. Without it the accuracy
gate does not run, and the exit code is 3. Exit codes: 0 every gate passed, 1 a gate failed, 2 usage, 3 not proven, 4 no
conversion.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SIGNATURE = "serving_default"
FIRST_WITHOUT_TFTRT = (2, 18)
PRECISIONS = ("INT8", "INT8-calibrated", "FP16")
PASSED, FAILED, USAGE, NOT_PROVEN, NO_CONVERSION = range(5)
ONNX_ROAD = (
    "Build the ONNX file with TensorRT instead: trtexec --onnx=model.int8.onnx --int8 --fp16 --saveEngine=model.engine,"
    " or from TensorRT 11 on trtexec --onnx=model.int8-fp16.onnx --saveEngine=model.engine."
)


class NoConversion(Exception):
    """What stops the conversion, as a sentence for the user."""


def main() -> int:
    """Run the command line and return its exit code."""
    options = _options()
    if options.probe:
        _construct(options.saved_model, "INT8")
        return PASSED
    try:
        report = run(options)
    except NoConversion as error:
        sys.stderr.write(f"{error}\n")
        return NO_CONVERSION
    with open(os.path.join(options.output, "conversion.json"), "w", encoding="utf-8") as stream:
        json.dump(report, stream, indent=1)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    statuses = [gate["status"] for gate in report["gates"]]
    if "failed" in statuses:
        return FAILED
    return NOT_PROVEN if "not_run" in statuses else PASSED


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Probe, convert, build, save and check; return the report. Raises NoConversion."""
    if os.path.exists(options.output):
        raise NoConversion(f"{options.output} is there already; remove it or give another folder with -o.")
    version = probe(options.saved_model)
    golden = _arrays(options.golden, "images", "outputs")
    test = _arrays(options.test, "images", "labels") if options.test else None
    calibration = _arrays(options.calibration, "images")["images"] if options.calibration else None
    if options.precision == "INT8-calibrated" and (calibration is None or not len(calibration)):
        raise NoConversion("INT8-calibrated needs --calibration FILE.npz with `images` of the training half.")
    import tensorflow as tf

    converter = _construct(options.saved_model, options.precision)
    _convert(tf, converter, options, golden["images"], calibration)
    before = tf.saved_model.load(options.saved_model).signatures[SIGNATURE]
    after = tf.saved_model.load(options.output).signatures[SIGNATURE]
    gates = [
        _engines_gate(after),
        _golden_gate("golden_before", tf, before, golden, options),
        _golden_gate("golden_after", tf, after, golden, options),
        _accuracy_gate(tf, before, after, test, options),
    ]
    return {"tensorflow": version, "precision": options.precision, "batch": options.batch, "gates": gates}


def probe(saved_model: str) -> str:
    """Return the version of TensorFlow. Raise NoConversion where it has no TF-TRT.

    The converter class is there in every version: only its construction shows whether TF-TRT is built in. It runs in another
    process, because a TensorFlow that does not find the TensorRT library may end its process.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise NoConversion(f"TensorFlow does not import ({error}). {ONNX_ROAD}") from None
    version = str(tf.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) >= FIRST_WITHOUT_TFTRT:
        raise NoConversion(f"TensorFlow {version} has no TF-TRT; 2.17 was the last with it. {ONNX_ROAD}")
    command = [sys.executable, os.path.abspath(__file__), "--probe", "--saved-model", saved_model]
    child = subprocess.run(command, capture_output=True, check=False)
    if child.returncode:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise NoConversion(
            f"TF-TRT of TensorFlow {version} does not start here (exit {child.returncode}: {lines[-1][:300]}). Use the TensorFlow wheel of the JetPack. {ONNX_ROAD}"
        )
    return version


def _construct(saved_model: str, precision: str) -> Any:
    from tensorflow import experimental

    return experimental.tensorrt.Converter(
        input_saved_model_dir=saved_model,
        precision_mode="FP16" if precision == "FP16" else "INT8",
        use_calibration=precision == "INT8-calibrated",
        maximum_cached_engines=1,
        minimum_segment_size=3,
        allow_build_at_runtime=False,
    )


def _convert(tf: Any, converter: Any, options: argparse.Namespace, images: Any, calibration: Any) -> None:
    """Convert, and build the engines now: else the first request waits for them."""

    def batches(source: Any) -> Iterator[tuple[Any]]:
        for start in range(0, max(len(source) - options.batch + 1, 1), options.batch):
            yield (tf.constant(_padded(source[start : start + options.batch], options.batch)),)

    try:
        if options.precision == "INT8-calibrated":
            converter.convert(calibration_input_fn=lambda: batches(calibration))
        else:
            converter.convert()
        converter.build(input_fn=lambda: batches(images[: options.batch]))
        converter.save(options.output)
    except Exception as error:
        raise NoConversion(f"TF-TRT stopped: {type(error).__name__}: {str(error)[:500]}") from error


def _engines_gate(served: Any) -> dict[str, str]:
    """A graph that TF-TRT left alone runs and is correct, in float: count the engines."""
    graph = served.graph.as_graph_def()
    nodes = list(graph.node) + [node for function in graph.library.function for node in function.node_def]
    engines = sum(node.op == "TRTEngineOp" for node in nodes)
    return _gate("engines", engines > 0, f"{engines} TensorRT engines are in the converted graph")


def _golden_gate(name: str, tf: Any, served: Any, golden: Any, options: argparse.Namespace) -> dict[str, str]:
    outputs = _outputs(tf, served, golden["images"], options.batch)
    finite = bool(np.isfinite(outputs).all())
    agreement = float((outputs.argmax(1) == golden["outputs"].argmax(1)).mean())
    difference = float(np.abs(outputs - golden["outputs"]).max())
    text = "{:.1%} of {} golden images have the golden class (at least {:.1%}), largest difference {:.3g}, {}".format(
        agreement, len(outputs), options.least_agreement, difference, "finite" if finite else "not finite"
    )
    return _gate(name, finite and agreement >= options.least_agreement, text)


def _accuracy_gate(
    tf: Any, before: Any, after: Any, test: Any, options: argparse.Namespace
) -> dict[str, str]:
    if test is None or not len(test["labels"]):
        return {"name": "accuracy", "status": "not_run", "reason": "no test images; give --test FILE.npz"}
    was, now = (
        float((_outputs(tf, served, test["images"], options.batch).argmax(1) == test["labels"]).mean())
        for served in (before, after)
    )
    text = "accuracy {:.4f} before and {:.4f} after, on {} images (drop at most {})".format(
        was, now, len(test["labels"]), options.most_drop
    )
    return _gate("accuracy", was - now <= options.most_drop, text)


def _gate(name: str, passed: bool, reason: str) -> dict[str, str]:
    return {"name": name, "status": "passed" if passed else "failed", "reason": reason}


def _outputs(tf: Any, served: Any, images: Any, batch: int) -> Any:
    """Return the outputs, float [N, K]; every call has the batch size that the engines were built for."""
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        (output,) = served(image=tf.constant(_padded(part, batch))).values()
        rows.append(np.asarray(output)[: len(part)])
    return np.concatenate(rows)


def _padded(images: Any, batch: int) -> Any:
    rest = np.zeros((batch - len(images), *images.shape[1:]), np.float32)
    return np.concatenate([np.asarray(images, np.float32), rest])


def _arrays(path: str, *names: str) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise NoConversion(
            "{}: cannot be read ({}); expected {}.".format(path, error, " and ".join(names))
        ) from None
    if len({len(array) for array in arrays.values()}) != 1 or not len(arrays["images"]):
        raise NoConversion(f"{path}: has no images, or arrays of different lengths.")
    return arrays


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a SavedModel with TF-TRT and check the result.")
    parser.add_argument("-o", "--output", default=os.path.join(HERE, "converted"), help="folder to write")
    parser.add_argument("--saved-model", default=os.path.join(HERE, "saved_model"))
    parser.add_argument("--golden", default=os.path.join(HERE, "golden.npz"))
    parser.add_argument("--test", help=".npz with images and labels for the accuracy gate")
    parser.add_argument("--precision", choices=PRECISIONS, default="INT8")
    parser.add_argument("--calibration", help=".npz with images, for INT8-calibrated")
    parser.add_argument("--batch", type=int, default=1, help="images per call that the engines are built for")
    parser.add_argument("--least-agreement", type=float, default=0.98)
    parser.add_argument("--most-drop", type=float, default=0.005)
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch < 1:
        parser.error(f"--batch is {options.batch}; expected at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
