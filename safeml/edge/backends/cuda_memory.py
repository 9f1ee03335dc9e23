"""Memory of the GPU and one stream: by cuda-python where it is installed, else by ctypes on libcudart."""

import ctypes
import glob
import importlib
from typing import Any, List, Optional

import numpy as np

from ..errors import EdgeError

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
# Where the CUDA runtime of a JetPack is; the loader's own list comes first.
LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2", "libcudart.so")
FOLDERS = "/usr/local/cuda*/lib64/libcudart.so*"


class CudaMemory:
    """Buffers on the device and a stream. `close` frees all of them."""

    name = ""

    def __init__(self) -> None:
        self.addresses: List[int] = []
        self.stream = self._create_stream()

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the device."""
        address = self._malloc(max(1, int(size)))
        self.addresses.append(address)
        return address

    def upload(self, address: int, array: np.ndarray) -> None:
        """Queue a copy of a contiguous array to the device."""
        self._copy(address, array.ctypes.data, array.nbytes, HOST_TO_DEVICE)

    def download(self, array: np.ndarray, address: int) -> None:
        """Queue a copy from the device into a contiguous array."""
        self._copy(array.ctypes.data, address, array.nbytes, DEVICE_TO_HOST)

    def close(self) -> None:
        """Free all buffers and the stream. A second call does nothing."""
        for address in self.addresses:
            self._free(address)
        self.addresses = []
        if self.stream:
            self._destroy_stream(self.stream)
        self.stream = 0

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        raise NotImplementedError

    def _create_stream(self) -> int:
        raise NotImplementedError

    def _destroy_stream(self, stream: int) -> None:
        raise NotImplementedError

    def _malloc(self, size: int) -> int:
        raise NotImplementedError

    def _free(self, address: int) -> None:
        raise NotImplementedError

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        raise NotImplementedError


class CtypesMemory(CudaMemory):
    """By ctypes. library: a loaded libcudart."""

    name = "ctypes"

    def __init__(self, library: Any) -> None:
        self.library = library
        CudaMemory.__init__(self)

    def synchronize(self) -> None:
        """See `CudaMemory.synchronize`."""
        self._check("cudaStreamSynchronize", self.library.cudaStreamSynchronize(ctypes.c_void_p(self.stream)))

    def _create_stream(self) -> int:
        stream = ctypes.c_void_p()
        self._check("cudaStreamCreate", self.library.cudaStreamCreate(ctypes.byref(stream)))
        return int(stream.value or 0)

    def _destroy_stream(self, stream: int) -> None:
        self.library.cudaStreamDestroy(ctypes.c_void_p(stream))

    def _malloc(self, size: int) -> int:
        pointer = ctypes.c_void_p()
        self._check("cudaMalloc", self.library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(size)))
        return int(pointer.value or 0)

    def _free(self, address: int) -> None:
        self.library.cudaFree(ctypes.c_void_p(address))

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        status = self.library.cudaMemcpyAsync(
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            kind,
            ctypes.c_void_p(self.stream),
        )
        self._check("cudaMemcpyAsync", status)

    def _check(self, call: str, status: int) -> None:
        if status:
            self.library.cudaGetErrorString.restype = ctypes.c_char_p
            words = self.library.cudaGetErrorString(status) or b"unknown"
            raise _failed(call, status, words.decode("utf-8", "replace"))


class CudaPythonMemory(CudaMemory):
    """By cuda-python. runtime: `cuda.bindings.runtime`, or `cuda.cudart` of older versions."""

    name = "cuda-python"

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        kinds = runtime.cudaMemcpyKind
        self.kinds = {
            HOST_TO_DEVICE: kinds.cudaMemcpyHostToDevice,
            DEVICE_TO_HOST: kinds.cudaMemcpyDeviceToHost,
        }
        CudaMemory.__init__(self)

    def synchronize(self) -> None:
        """See `CudaMemory.synchronize`."""
        self._call("cudaStreamSynchronize", self.stream)

    def _create_stream(self) -> int:
        return int(self._call("cudaStreamCreate"))

    def _destroy_stream(self, stream: int) -> None:
        self.runtime.cudaStreamDestroy(stream)

    def _malloc(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def _free(self, address: int) -> None:
        self.runtime.cudaFree(address)

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._call("cudaMemcpyAsync", target, source, size, self.kinds[kind], self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        result = getattr(self.runtime, name)(*arguments)
        if int(result[0]):
            words = self.runtime.cudaGetErrorString(result[0])[1]
            raise _failed(name, int(result[0]), bytes(words).decode("utf-8", "replace"))
        return result[1] if len(result) > 1 else None


def open_memory() -> CudaMemory:
    """Return the memory of the first GPU. Raises EdgeError where there is no CUDA runtime."""
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return CudaPythonMemory(importlib.import_module(name))
        except ImportError:  # noqa: PERF203
            continue
    library = _load()
    if library is None:
        raise EdgeError(
            "there is neither cuda-python nor libcudart.so; install the CUDA runtime of the JetPack."
        )
    return CtypesMemory(library)


def _load() -> Optional[Any]:
    for path in LIBRARIES + tuple(sorted(glob.glob(FOLDERS), reverse=True)):
        try:
            return ctypes.CDLL(path)
        except OSError:  # noqa: PERF203
            continue
    return None


def _failed(call: str, status: int, words: str) -> EdgeError:
    return EdgeError(
        f"{call} failed with CUDA error {status} ({words}). An error of CUDA lasts until the process ends; start it again."
    )
