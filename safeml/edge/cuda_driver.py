"""The CUDA driver through ctypes: compute capability, name and memory of the first GPU, without any package."""

import ctypes
from typing import Any, NamedTuple, Optional

LIBRARIES = ("libcuda.so.1",)
# Numbers of CUdevice_attribute.
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76


class Gpu(NamedTuple):
    """The first GPU.

    name: as the driver gives it.
    capability: such as "8.7".
    driver: CUDA version of the driver, such as "12.6".
    """

    name: str
    capability: str
    driver: str


def first_gpu(library: Optional[Any] = None) -> Optional[Gpu]:
    """Return the first GPU, or None where there is no driver or no GPU.

    library: a loaded libcuda; by default the one of the system.
    """
    driver = library if library is not None else _load()
    if driver is None or driver.cuInit(0) != 0:
        return None
    device, version = ctypes.c_int(), ctypes.c_int()
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return None
    numbers = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return None
        numbers.append(value.value)
    name = ctypes.create_string_buffer(256)
    if (
        driver.cuDeviceGetName(name, 256, device) != 0
        or driver.cuDriverGetVersion(ctypes.byref(version)) != 0
    ):
        return None
    return Gpu(
        name.value.decode("utf-8", "replace"),
        "{}.{}".format(*numbers),
        f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def _load() -> Optional[Any]:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:  # noqa: PERF203
            continue
    return None
