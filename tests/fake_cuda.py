"""A stand-in for libcudart whose device memory is memory of this process."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any


class FakeCuda:
    """libcudart with the functions that the runtime calls; a device address is one of this process.

    failing: name of a function that returns error 700, as after an illegal access.
    """

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.held: dict[int, Any] = {}
        self.copies: list[int] = []
        self.stream_open = False
        self.cudaGetErrorString = _Text()
        functions = (self._malloc, self._free, self._copy, self._create, self._wait, self._destroy)
        names = ("Malloc", "Free", "MemcpyAsync", "StreamCreate", "StreamSynchronize", "StreamDestroy")
        for name, function in zip(names, functions, strict=True):
            setattr(self, "cuda" + name, partial(self._guarded, "cuda" + name, function))

    def _guarded(self, name: str, function: Any, *arguments: Any) -> int:
        if name == self.failing:
            return 700
        function(*arguments)
        return 0

    def _malloc(self, pointer: Any, size: Any) -> None:
        buffer = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(buffer)
        self.held[pointer._obj.value] = buffer

    def _free(self, address: Any) -> None:
        del self.held[address.value]

    def _copy(self, target: Any, source: Any, size: Any, kind: int, stream: Any) -> None:
        # A copy that is longer than its buffer would be an illegal access on a device.
        assert size.value <= len(self.held[target.value if kind == 1 else source.value])
        ctypes.memmove(target.value, source.value, size.value)
        self.copies.append(kind)

    def _create(self, stream: Any) -> None:
        stream._obj.value, self.stream_open = 77, True

    def _wait(self, stream: Any) -> None:
        assert stream.value == 77

    def _destroy(self, stream: Any) -> None:
        self.stream_open = False


class _Text:
    restype: Any = None

    def __call__(self, status: int) -> bytes:
        return b"an illegal memory access was encountered"
