"""The child's side of `safeml.export.tensorrt_rtx`: parse one ONNX file, build it ahead of time, and report what was logged.

It judges nothing. Parser options stay at their defaults: another option ended the process of tensorrt-rtx 1.7.1.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from safeml.errors import first_line

try:
    import tensorrt_rtx as trt

    MISSING = ""
except ImportError as error:
    trt, MISSING = None, first_line(error)

# Names of layers in the network that the parser makes. Only these multiply with weights.
WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
# Layers between a DequantizeLinear and its consumer that move values and change none.
MOVES = ("SHUFFLE", "IDENTITY")


def build(path: str, target: str, batches: str) -> dict[str, Any]:
    """Return what the parser and the builder say of the ONNX file at `path`.

    target: the compute capability to build for, such as "SM86". batches: smallest, usual and largest batch of a model with a
    dynamic batch, as "1,8,32".
    """
    if trt is None:
        return {"missing": MISSING}
    logger, messages = _logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = bool(parser.parse_from_file(path))
    reply = {
        "missing": "",
        "version": str(trt.__version__),
        "offered": sorted(name for name in dir(trt.ComputeCapability) if name.startswith("SM")),
        "parsed": parsed,
        "errors": [_words(parser.get_error(index)) for index in range(parser.num_errors)],
        "engine_bytes": 0,
        "dynamic": {},
        **_layers(network),
    }
    if parsed:
        reply["dynamic"] = _dynamic(network)
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
        _profile(builder, config, network, [int(batch) for batch in batches.split(",")])
        engine = builder.build_serialized_network(network, config)
        reply["engine_bytes"] = 0 if engine is None else int(engine.nbytes)
    return {**reply, "log": [list(message) for message in messages]}


def _logger() -> tuple[Any, list[tuple[str, str]]]:
    messages: list[tuple[str, str]] = []

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name not in ("INFO", "VERBOSE"):
                messages.append((severity.name, message))

    return Logger(), messages


def _words(error: Any) -> str:
    name = error.node_name() or "without a name"
    return f"{error.node_operator()} {name}: {str(error.code()).rpartition('.')[2]}, {error.desc()}"


def _dynamic(network: Any) -> dict[str, list[int]]:
    """Return the dynamic dimensions of each input that has any."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    sizes = {one.name: [axis for axis, size in enumerate(one.shape) if size < 0] for one in inputs}
    return {name: axes for name, axes in sizes.items() if axes}


def _profile(builder: Any, config: Any, network: Any, batches: list[int]) -> None:
    """Give a dynamic batch its range of sizes; the build of a model with another dynamic dimension then fails."""
    profile = builder.create_optimization_profile()
    dynamic = _dynamic(network)
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.name in dynamic:
            profile.set_shape(tensor.name, *((batch, *tuple(tensor.shape)[1:]) for batch in batches))
    if dynamic:
        config.add_optimization_profile(profile)


def _layers(network: Any) -> dict[str, Any]:
    """Count the layers by type, and those that multiply two dequantized INT8 tensors."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}
    counts = Counter(layer.type.name for layer in layers)
    weighted = [layer for layer in layers if layer.type.name in WEIGHTED]
    return {
        "layers": len(layers),
        "quantize_layers": counts["QUANTIZE"],
        "weighted_layers": len(weighted),
        "int8_layers": sum(
            all(_dequantized(layer.get_input(index), makers) for index in (0, 1)) for layer in weighted
        ),
    }


def _dequantized(tensor: Any, makers: dict[str, Any]) -> bool:
    maker = None if tensor is None else makers.get(tensor.name)
    while maker is not None and maker.type.name in MOVES:
        maker = makers.get(maker.get_input(0).name)
    return maker is not None and maker.type.name == "DEQUANTIZE"
