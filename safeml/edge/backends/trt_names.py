"""TensorRT 8.5 and 8.6 (JetPack 5.1 and 6.0): tensors by name and `execute_async_v3`."""

from typing import Any, List, Sequence, Tuple

from .trt_common import Tensor, numpy_type


def network_flags(trt: Any) -> int:
    """Return the flags of `create_network`."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def limit_workspace(trt: Any, config: Any, size: int) -> None:
    """Bound the workspace; size: bytes."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)


def tensors(trt: Any, engine: Any) -> List[Tensor]:
    """Return the inputs and outputs of an engine."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [
        Tensor(
            name,
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            tuple(engine.get_tensor_shape(name)),
            numpy_type(trt, engine.get_tensor_dtype(name)),
        )
        for name in names
    ]


def set_shape(context: Any, engine: Any, name: str, shape: Tuple[int, ...]) -> bool:
    """Set the shape of an input, and return whether the engine takes it."""
    return bool(context.set_input_shape(name, shape))


def execute(context: Any, engine: Any, addresses: Sequence[Tuple[str, int]], stream: int) -> bool:
    """Queue one run. addresses: (name, address on the device) of each tensor."""
    for name, address in addresses:
        if not context.set_tensor_address(name, address):
            return False
    return bool(context.execute_async_v3(stream))
