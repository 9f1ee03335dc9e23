"""TensorRT 8.0 to 8.4 (JetPack 4.6 and 5.0): bindings by index and `execute_async_v2`."""

from typing import Any, List, Sequence, Tuple

from .trt_common import Tensor, numpy_type


def network_flags(trt: Any) -> int:
    """Return the flags of `create_network`."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def limit_workspace(trt: Any, config: Any, size: int) -> None:
    """Bound the workspace; size: bytes."""
    config.max_workspace_size = size


def tensors(trt: Any, engine: Any) -> List[Tensor]:
    """Return the inputs and outputs of an engine."""
    return [
        Tensor(
            engine.get_binding_name(index),
            bool(engine.binding_is_input(index)),
            tuple(engine.get_binding_shape(index)),
            numpy_type(trt, engine.get_binding_dtype(index)),
        )
        for index in range(engine.num_bindings)
    ]


def set_shape(context: Any, engine: Any, name: str, shape: Tuple[int, ...]) -> bool:
    """Set the shape of an input, and return whether the engine takes it."""
    return bool(context.set_binding_shape(engine.get_binding_index(name), shape))


def execute(context: Any, engine: Any, addresses: Sequence[Tuple[str, int]], stream: int) -> bool:
    """Queue one run. addresses: (name, address on the device) of each tensor."""
    bindings = [0] * engine.num_bindings
    for name, address in addresses:
        bindings[engine.get_binding_index(name)] = address
    return bool(context.execute_async_v2(bindings, stream))
