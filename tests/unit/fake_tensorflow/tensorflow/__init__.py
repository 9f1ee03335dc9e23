"""A stand-in for TensorFlow with TF-TRT, for the conversion script: what it is, the environment says.

FAKE_TF: its version. FAKE_TRT: "yes", "no" (not built in), "abort" (the TensorRT library is missing), "untouched" (nothing was
converted), "inexact" (the converted model is another one), "no build" (the engines do not build).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = os.environ["FAKE_TF"]
TRT = os.environ["FAKE_TRT"]
CLASSES = 3


class Tensor:
    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values


def constant(values: Any) -> Tensor:
    return Tensor(values)


class Served:
    """The class of an image is the channel with the largest mean; an inexact one rolls the channels."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        node = SimpleNamespace(op="TRTEngineOp")
        function = SimpleNamespace(node_def=[node] * record.get("engines", 0))
        graph_def = SimpleNamespace(node=[], library=SimpleNamespace(function=[function]))
        self.graph = SimpleNamespace(as_graph_def=lambda: graph_def)

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        assert isinstance(image, Tensor)
        assert image.values.dtype == np.float32
        batch = self.record.get("batch")
        assert batch in (None, len(image.values)), "the engines were built for another batch"
        means = image.values.mean((1, 2))
        return {"logits": Tensor(np.roll(means, self.record.get("roll", 0), axis=1))}


def load(folder: str) -> Any:
    record = json.loads(Path(folder, "fake.json").read_text())
    return SimpleNamespace(signatures={"serving_default": Served(record)})


saved_model = SimpleNamespace(load=load)


class Converter:
    def __init__(
        self,
        input_saved_model_dir: str,
        precision_mode: str,
        use_calibration: bool,
        maximum_cached_engines: int,
        minimum_segment_size: int,
        allow_build_at_runtime: bool,
    ) -> None:
        if TRT == "abort":
            os.abort()
        if TRT == "no":
            raise RuntimeError("Tensorflow has not been built with TensorRT support.")
        assert not allow_build_at_runtime
        self.asked: dict[str, Any] = {"precision": precision_mode, "calibration": use_calibration}
        self.steps: list[str] = []

    def convert(self, calibration_input_fn: Any = None) -> None:
        assert self.asked["calibration"] == (calibration_input_fn is not None)
        if calibration_input_fn is not None:
            self.asked["calibrated_on"] = sum(len(batch.values) for (batch,) in calibration_input_fn())
        self.steps.append("convert")

    def build(self, input_fn: Any) -> None:
        if TRT == "no build":
            raise ValueError("Specified device is not a GPU")
        ((batch,),) = input_fn()
        self.asked["batch"] = len(batch.values)
        self.steps.append("build")

    def save(self, folder: str) -> None:
        assert self.steps == ["convert", "build"]
        Path(folder).mkdir(parents=True)
        engines, roll = 0 if TRT == "untouched" else 2, 1 if TRT == "inexact" else 0
        Path(folder, "fake.json").write_text(json.dumps({**self.asked, "engines": engines, "roll": roll}))


experimental = SimpleNamespace(tensorrt=SimpleNamespace(Converter=Converter))
