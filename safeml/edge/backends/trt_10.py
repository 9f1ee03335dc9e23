"""TensorRT 10 (JetPack 6.1 to 7.2): the API of names; every network has an explicit batch."""

from typing import Any

from .trt_names import execute, limit_workspace, set_shape, tensors

__all__ = ["execute", "limit_workspace", "network_flags", "set_shape", "tensors"]


def network_flags(trt: Any) -> int:
    """Return the flags of `create_network`: none, because the flag for an explicit batch is deprecated and ignored."""
    return 0
