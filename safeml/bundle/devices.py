"""The devices of docs/jetson.md and what a bundle demands of them by default: the one place of these facts.

A device that does not meet the constraints of a bundle refuses it before anything is installed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One row of the table of devices.

    names: in words.
    capabilities: CUDA compute capability of the GPU, such as "8.7"; one for each generation of the row.
    int8: whether INT8 is faster than FP16 on it.
    releases: in words, the JetPack and the TensorRT that it has.
    tensorrt: the oldest version of them.
    file: in words, the file of the export that it runs.
    """

    names: str
    capabilities: tuple[str, ...]
    int8: bool
    releases: str
    tensorrt: str
    file: str


INT8, HALF, FLOAT = "`model.int8.onnx`", "`model.int8-fp16.onnx`", "`model.float.onnx` with FP16"

DEVICES = (
    Device("Nano, TX1, TX2", ("5.3", "6.2"), False, "4.6: 8.0 to 8.2", "8.0", FLOAT),
    Device("Xavier NX, AGX Xavier", ("7.2",), True, "5.1: 8.5", "8.5", INT8),
    Device(
        "Orin Nano, NX, AGX",
        ("8.7",),
        True,
        "5.1: 8.5; 6.0: 8.6; 6.1 and 6.2: 10.3; 7.2: 10.16; 7.2.2: 11.4",
        "8.5",
        f"{INT8}; from 11 on {HALF}",
    ),
    Device("Thor", ("11.0",), True, "7.0, 7.1: 10.13; 7.2.2: 11.4", "10.13", "as Orin"),
)

# A PC runs the bundle with ONNX Runtime, as a rehearsal of the device.
ARCHITECTURES = ("aarch64", "x86_64")
# The first TensorRT of which nothing is known.
UNKNOWN_TENSORRT = "12.0"
# Of the process beside the model: interpreter, NumPy, CUDA context.
BASE_MEMORY_MB = 512
# An engine build holds the file, its weights in float32 and those of the tactic at hand.
COPIES_OF_MODEL = 4


def version_key(version: str) -> tuple[int, ...]:
    """Return a version as numbers, to be compared; "10.3" is newer than "8.6"."""
    return tuple(int(part) for part in version.split("."))


def capabilities(float_model: bool) -> tuple[str, ...]:
    """Return the compute capabilities that a bundle may run on, ascending. float_model: the bundle holds the float model.

    A GPU without fast INT8 needs the float model.
    """
    rows = [device for device in DEVICES if device.int8 or float_model]
    return tuple(sorted({entry for device in rows for entry in device.capabilities}, key=version_key))


def oldest_tensorrt(float_model: bool) -> str:
    """Return the oldest TensorRT of the devices that a bundle may run on."""
    rows = [device for device in DEVICES if device.int8 or float_model]
    return min((device.tensorrt for device in rows), key=version_key)


def memory_mb(largest_file: int) -> int:
    """Return the memory that a device needs, in MiB. largest_file: bytes of the largest model file.

    An estimate, not measured on a device.
    """
    return BASE_MEMORY_MB + -(-COPIES_OF_MODEL * largest_file >> 20)


def table() -> list[str]:
    """Return the rows of the table in docs/jetson.md."""
    lines = ["| device | GPU | INT8 | JetPack: TensorRT | file |", "|---|---|---|---|---|"]
    for device in DEVICES:
        fast = "yes" if device.int8 else "no fast INT8"
        gpu = ", ".join(device.capabilities)
        lines.append(f"| {device.names} | SM {gpu} | {fast} | {device.releases} | {device.file} |")
    return lines
