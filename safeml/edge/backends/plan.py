"""Which file and which builder settings a device takes, from one table by the version of TensorRT."""

import re
from typing import Any, NamedTuple, Optional, Tuple

from ..devices import has_fast_int8
from ..errors import EdgeError

INT8, HALF, FLOAT = "int8", "int8-fp16", "float"


class Row(NamedTuple):
    """A generation of TensorRT.

    least, below: versions (major, minor), from the first to before the second.
    adapter: name of the module in this folder that speaks its API.
    flags: it has builder flags for INT8 and FP16; otherwise the types of the file count.
    inspector: it reports the layers of an engine.
    """

    least: Tuple[int, int]
    below: Tuple[int, int]
    adapter: str
    flags: bool
    inspector: bool


TABLE = (
    Row((8, 0), (8, 2), "trt_bindings", True, False),
    Row((8, 2), (8, 5), "trt_bindings", True, True),
    Row((8, 5), (9, 0), "trt_names", True, True),
    Row((10, 0), (11, 0), "trt_10", True, True),
    Row((11, 0), (12, 0), "trt_11", False, True),
)


class Plan(NamedTuple):
    """How an engine is built.

    model: key of the file in `manifest.models`.
    adapter: see `Row`.
    flags: names of the builder flags to set.
    note: what a user must be told, or "".
    inspector: see `Row`.
    """

    model: str
    adapter: str
    flags: Tuple[str, ...]
    note: str
    inspector: bool = True


def version_numbers(version: str) -> Tuple[int, int]:
    """Return (major, minor) of a version such as "10.3.0.30". Raises EdgeError for other text."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        raise EdgeError(f'the version of TensorRT is "{version}"; expected numbers such as 10.3.0.')
    return int(match.group(1)), int(match.group(2))


def row_of(version: str) -> Row:
    """Return the row of a version. Raises EdgeError for a version that the runtime does not know."""
    numbers = version_numbers(version)
    for row in TABLE:
        if row.least <= numbers < row.below:
            return row
    raise EdgeError(
        f"TensorRT {version} is not supported; expected 8.0 to 8.6, 10 or 11. Use the TensorRT of the JetPack, or set the backend "
        "onnxruntime in the device settings."
    )


def make_plan(version: str, capability: Optional[str], models: Any) -> Plan:
    """Return the plan for a device.

    version: of TensorRT. capability: of the GPU, or None where it is unknown. models: keys of the files in the bundle.
    Raises EdgeError where the bundle has no file for this device.
    """
    row = row_of(version)
    if not has_fast_int8(capability):
        note = f"The GPU (compute capability {capability}) has no fast INT8: the float model runs in FP16."
        if not row.flags:
            raise EdgeError(
                f"TensorRT {version} has no FP16 flag and the GPU has no fast INT8; use the TensorRT of JetPack 4."
            )
        return Plan(_wanted(models, FLOAT, note), row.adapter, ("FP16",), note, row.inspector)
    if row.flags:
        return Plan(_wanted(models, INT8, ""), row.adapter, ("INT8", "FP16"), "", row.inspector)
    if HALF in models:
        return Plan(HALF, row.adapter, (), "")
    note = f"The bundle has no int8-fp16 file: with TensorRT {version} everything outside the quantizers runs in float32."
    return Plan(_wanted(models, INT8, ""), row.adapter, (), note)


def _wanted(models: Any, key: str, note: str) -> str:
    if key not in models:
        raise EdgeError(
            "{}The bundle has no {} file; it has {}. Export and bundle it, or choose another device.".format(
                note + " " if note else "", key, ", ".join(sorted(models))
            )
        )
    return key
