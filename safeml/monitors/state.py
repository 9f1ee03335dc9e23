"""The state of a monitor on disk: arrays in one .npz file, everything else in one JSON file with the hash of the arrays.

Both files come from outside when a device reads them, so each bound is a number here and is checked before an array is read.
"""

import hashlib
import io
import json
import os
import zipfile
from typing import NamedTuple, Optional

import numpy as np

from .errors import MonitorRefused

FORMAT = 1
ARRAYS, DESCRIPTION = "monitor.npz", "monitor.json"
MOST_ARRAY_BYTES = 1 << 24
MOST_JSON_BYTES = 1 << 20
MOST_ARRAYS = 64
TYPES = ("float32", "float64", "int64", "bool")
KEYS = ("format", "model", "classes", "features", "settings", "arrays", "sha256")


class State(NamedTuple):
    """A fitted monitor.

    model: fingerprint of the model whose outputs it was fitted on.
    classes: K. features: F; 0 where the model gives none.
    settings: JSON-able; names, thresholds and limits.
    arrays: by name.
    fingerprint: sha256 of the JSON file; "" before it is written.
    """

    model: str
    classes: int
    features: int
    settings: dict
    arrays: dict
    fingerprint: str = ""


def size_of(arrays: dict) -> int:
    """Return the bytes of all arrays."""
    return int(sum(np.asarray(array).nbytes for array in arrays.values()))


def packed_state(state: State) -> dict:
    """Return the content of the two files of a state by name, bytes. Equal states give equal bytes.

    Raises MonitorRefused for arrays that `load_state` would refuse.
    """
    arrays = {name: np.ascontiguousarray(state.arrays[name]) for name in sorted(state.arrays)}
    if len(arrays) > MOST_ARRAYS or size_of(arrays) > MOST_ARRAY_BYTES:
        raise MonitorRefused(
            f"the state has {len(arrays)} arrays of {size_of(arrays):,} bytes; expected at most {MOST_ARRAYS} of {MOST_ARRAY_BYTES:,}; fit on fewer features."
        )
    for name, array in arrays.items():
        if str(array.dtype) not in TYPES:
            raise MonitorRefused(
                "the array {} is {}; expected one of {}.".format(name, array.dtype, ", ".join(TYPES))
            )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + ".npy"), member.getvalue())
    data = packed.getvalue()
    description = {
        "format": FORMAT,
        "model": state.model,
        "classes": int(state.classes),
        "features": int(state.features),
        "settings": state.settings,
        "arrays": {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = (json.dumps(description, sort_keys=True, allow_nan=False, indent=1) + "\n").encode("utf-8")
    if len(text) > MOST_JSON_BYTES:
        raise MonitorRefused(
            f"the settings of the state take {len(text):,} bytes; expected at most {MOST_JSON_BYTES:,}."
        )
    return {ARRAYS: data, DESCRIPTION: text}


def save_state(folder: str, state: State) -> State:
    """Write the two files to `folder`, each under a temporary name first, and return the state with its fingerprint.

    Raises MonitorRefused for arrays that `load_state` would refuse.
    """
    packed = packed_state(state)
    for name in (ARRAYS, DESCRIPTION):
        content = packed[name]
        whole = os.path.join(folder, name)
        with open(whole + ".part", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(whole + ".part", whole)
    return state._replace(fingerprint=hashlib.sha256(packed[DESCRIPTION]).hexdigest())


def load_state(folder: str, model: str, classes: int, features: int) -> State:
    """Read a state and check all of it.

    model: fingerprint of the model at hand. classes: K. features: F; 0 where it gives none.
    Raises MonitorRefused for a file that is missing, too large, damaged, or of another model or size.
    """
    where = os.path.join(folder, DESCRIPTION)
    text = _read(where, MOST_JSON_BYTES)
    try:
        described = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MonitorRefused(f"{where}: is not JSON; write the state again.") from None
    _check_description(described, where)
    for key, value in (("model", model), ("classes", classes), ("features", features)):
        if described[key] != value:
            raise MonitorRefused(
                f"{where}: the {key} of the state is {described[key]}, and that of the model is {value}; fit the monitor on this model."
            )
    where = os.path.join(folder, ARRAYS)
    data = _read(where, MOST_ARRAY_BYTES + (1 << 16))
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise MonitorRefused(f"{where}: its sha256 is not that of {DESCRIPTION}; write the state again.")
    arrays = _arrays(data, described["arrays"], where)
    return State(model, classes, features, described["settings"], arrays, hashlib.sha256(text).hexdigest())


def _check_description(described: object, where: str) -> None:
    if not isinstance(described, dict) or sorted(described) != sorted(KEYS):
        raise MonitorRefused("{}: has other keys than a state; expected {}.".format(where, ", ".join(KEYS)))
    if described["format"] != FORMAT:
        raise MonitorRefused("{}: is of format {}; expected {}.".format(where, described["format"], FORMAT))
    declared = described["arrays"]
    if (
        not isinstance(described["settings"], dict)
        or not isinstance(declared, dict)
        or len(declared) > MOST_ARRAYS
    ):
        raise MonitorRefused(
            f"{where}: settings and arrays are not tables of a state; write the state again."
        )
    total = 0
    for name, entry in declared.items():
        fits = (
            isinstance(entry, list)
            and len(entry) == 2
            and entry[0] in TYPES
            and isinstance(entry[1], list)
            and len(entry[1]) <= 4
            and all(
                isinstance(side, int) and not isinstance(side, bool) and 0 <= side <= 1 << 24
                for side in entry[1]
            )
        )
        if not fits:
            raise MonitorRefused(
                f"{where}: the array {name} has no type and shape of a state; write the state again."
            )
        size = np.dtype(entry[0]).itemsize
        for side in entry[1]:
            size *= side
        total += size
    if total > MOST_ARRAY_BYTES:
        raise MonitorRefused(
            f"{where}: declares arrays of {total:,} bytes; expected at most {MOST_ARRAY_BYTES:,}."
        )


def _arrays(data: bytes, declared: dict, where: str) -> dict:
    """Read the arrays: uncompressed members of the declared sizes alone, never a pickle."""
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(name + ".npy" for name in declared):
                raise MonitorRefused(f"{where}: holds other arrays than declared; write the state again.")
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(data):
                    raise MonitorRefused(f"{where}: {member.filename} is compressed; expected stored arrays.")
                with archive.open(member) as file:
                    content = file.read()
                name = member.filename[:-4]
                array = _array(content, declared[name])
                if array is None:
                    raise MonitorRefused(f"{where}: {name} is not of the declared type and shape.")
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise MonitorRefused(f"{where}: {name} holds a value that is not finite.")
                arrays[name] = array
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        if isinstance(error, MonitorRefused):
            raise
        raise MonitorRefused(f"{where}: is not a file of arrays; write the state again.") from None
    return arrays


def _array(content: bytes, declared: list) -> Optional[np.ndarray]:
    """Return the array of an .npy file, or None where it is not of the declared type and shape; nothing larger is made."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        return None
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    if [str(dtype), list(shape)] != declared or (by_column and len(shape) > 1):
        return None
    values = np.frombuffer(content, np.uint8, offset=file.tell())
    if values.nbytes != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        return None
    return np.frombuffer(values.tobytes(), dtype).reshape(shape)


def _read(where: str, most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes."""
    try:
        if not os.path.isfile(where):
            raise MonitorRefused(f"{where}: there is no such file; expected the state of a monitor.")
        with open(where, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise MonitorRefused(f"{where}: cannot be read ({error.strerror}).") from None
    if len(content) > most:
        raise MonitorRefused(f"{where}: is larger than {most:,} bytes, the most that a state has.")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(name)
