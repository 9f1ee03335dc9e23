"""What every generation of TensorRT shares: import, log, parse, build, and the layers of an engine."""

import importlib
import json
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import EdgeError
from .plan import Plan

# Lines of the log of TensorRT that are kept.
MOST_LINES = 200
WITHOUT_DLA = (
    "TensorRT is installed, but libnvdla_compiler.so is missing, without which `import tensorrt` fails on this image. Install the "
    "package nvidia-l4t-dla-compiler, or start the container with --runtime nvidia."
)


class Tensor(NamedTuple):
    """An input or output of an engine.

    shape: minus 1 where it is dynamic.
    dtype: of NumPy.
    """

    name: str
    is_input: bool
    shape: Tuple[int, ...]
    dtype: Any


def numpy_type(trt: Any, dtype: Any) -> Any:
    """Return the NumPy type of a tensor. Raises EdgeError for one that this runtime does not feed."""
    known = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT8": np.int8, "BOOL": np.bool_}
    for name, value in known.items():
        if dtype == getattr(trt.DataType, name):
            return value
    raise EdgeError(f"the engine has a tensor of the type {dtype}; expected one of {', '.join(known)}.")


def import_tensorrt() -> Any:
    """Return the module. Raises EdgeError with the reason where it does not import."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        if "libnvdla_compiler" in str(error):
            raise EdgeError(WITHOUT_DLA) from None
        raise EdgeError(
            f"the Python module tensorrt does not import ({str(error)[:300]}). Install the TensorRT of the JetPack (package python3-libnvinfer), or set the backend "
            "onnxruntime in the device settings."
        ) from None


def adapter_of(plan: Plan) -> Any:
    """Return the module that speaks the API of this TensorRT."""
    return importlib.import_module("." + plan.adapter, __package__)


def make_logger(trt: Any, lines: List[str]) -> Any:
    """Return a logger that appends warnings and errors to `lines`."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INFO, trt.ILogger.VERBOSE) or len(lines) >= MOST_LINES:
                return
            lines.append(str(message)[:500])

    return Logger()


def build_engine(
    trt: Any, plan: Plan, path: str, batches: Sequence[int], workspace: int, lines: List[str]
) -> Tuple[bytes, Dict[str, Any]]:
    """Build the engine of an ONNX file and return its bytes, and what is recorded of it.

    batches: smallest, usual and largest batch, for a file with a dynamic batch. workspace: bytes.
    lines: gets the warnings and errors of TensorRT.
    Raises EdgeError where TensorRT refuses the file.
    """
    adapter, logger = adapter_of(plan), make_logger(trt, lines)
    builder = trt.Builder(logger)
    network = builder.create_network(adapter.network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    with open(path, "rb") as file:
        parsed = parser.parse(file.read())
    if not parsed:
        raise EdgeError(f"TensorRT does not read the ONNX file: {_parser_errors(parser) or _last(lines)}")
    config = builder.create_builder_config()
    adapter.limit_workspace(trt, config, workspace)
    for name in plan.flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if plan.inspector:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _add_profile(builder, config, network, batches)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EdgeError(f"TensorRT built no engine: {_last(lines)}")
    data = bytes(engine)
    layers = layer_types(trt, logger, data) if plan.inspector else {}
    return data, {"engine_bytes": len(data), "layers": layers}


def layer_types(trt: Any, logger: Any, data: bytes) -> Dict[str, int]:
    """Return how many layers of an engine have an output of each type, by the name that the inspector gives the type.

    An engine built here a moment ago is inspected, never a file. Empty where the inspector gives no details.
    """
    engine = trt.Runtime(logger).deserialize_cuda_engine(data)
    if engine is None:
        raise EdgeError("TensorRT does not load the engine that it built.")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    counts: Dict[str, int] = {}
    try:
        layers = json.loads(text).get("Layers", [])
    except ValueError:
        return counts
    for layer in layers:
        if not isinstance(layer, dict):
            continue
        for output in layer.get("Outputs", [])[:1]:
            # "Format/Datatype" until 10, "DataType" from 11 on: such as "Thirty-two wide channel vectorized row major Int8 format".
            words = str(
                output.get("Format/Datatype") or output.get("DataType") or output.get("Datatype") or "unknown"
            )
            kind = next(
                (name for name in ("Int8", "FP16", "Half", "FP32", "Float") if name.lower() in words.lower()),
                "other",
            )
            kind = {"Half": "FP16", "Float": "FP32"}.get(kind, kind)
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _add_profile(builder: Any, config: Any, network: Any, batches: Sequence[int]) -> None:
    profile, dynamic = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if any(side < 0 for side in shape[1:]):
            raise EdgeError(
                f"the input {tensor.name} has the shape {shape}; expected the batch alone to be dynamic."
            )
        if shape[0] < 0:
            dynamic = True
            profile.set_shape(tensor.name, *[(batch, *shape[1:]) for batch in batches])
    if dynamic:
        config.add_optimization_profile(profile)


def _parser_errors(parser: Any) -> str:
    words = [str(parser.get_error(index).desc())[:200] for index in range(min(parser.num_errors, 3))]
    return "; ".join(words)


def _last(lines: List[str]) -> str:
    return lines[-1] if lines else "it gave no reason"


def deserialize(trt: Any, logger: Any, data: bytes, lines: List[str]) -> Tuple[Any, Any]:
    """Return runtime and engine of authenticated bytes; the runtime must live as long as the engine. Raises EdgeError where TensorRT does not take them."""
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EdgeError(f"TensorRT does not load the engine: {_last(lines)}")
    return runtime, engine
