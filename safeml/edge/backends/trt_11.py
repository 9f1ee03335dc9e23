"""TensorRT 11 (JetPack 7.2.2): the calls of 10. There are no precision flags, calibrators or `EXPLICIT_BATCH`; the table says so."""

from .trt_10 import execute, limit_workspace, network_flags, set_shape, tensors

__all__ = ["execute", "limit_workspace", "network_flags", "set_shape", "tensors"]
