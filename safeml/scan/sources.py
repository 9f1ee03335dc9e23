"""Which file is the model, where the user named a folder, a file of weights, or an architecture."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.errors import InputRefused
from safeml.limits import LIMITS
from safeml.scan.base import Refused
from safeml.scan.checkpoints import MODELS, choose
from safeml.scan.strict_json import parse

MANIFEST = "training.json"
QUANTIZATION, EXPORT = "quantization.json", "export.json"
# The file of `safeml export` that is audited.
INT8_FILE = "model.int8.onnx"
WEIGHTS = (".weights.h5", ".h5", ".hdf5")
HEAD_BYTES = 4096
DATA_FILE = re.compile(r"\.(?:index|data-\d{5}-of-\d{5})$")
# Where MLflow keeps the models of its Keras, TensorFlow and ONNX flavours.
OF_MLFLOW = (
    "data/model.keras",
    "data/model.h5",
    "data/model",
    "model.keras",
    "model.h5",
    "model.onnx",
    "tfmodel",
    "model",
)


@dataclass(frozen=True)
class Source:
    """file: the model's file, or its SavedModel folder. chosen: one sentence why it is this one of its folder, or "".

    architecture: the JSON architecture that the user named, where the file holds weights alone.
    manifest: `training.json` of `safeml train`, where the file is the checkpoint that it chose.
    """

    file: Path
    chosen: str = ""
    architecture: Path | None = None
    manifest: dict[str, Any] | None = None


def find_model(path: Path) -> Source:
    """The model that `path` names. Raises InputRefused where a folder does not say which of its files it is."""
    if os.path.islink(path) or not os.path.isdir(path):
        if path.suffix == ".json":
            return Source(_weights_beside(path), architecture=path)
        _refuse_tensorflow_checkpoint(path)
        manifest = read_manifest(path.parent)
        chosen = (manifest or {}).get("chosen", {})
        is_chosen = isinstance(chosen, dict) and chosen.get("file") == path.name
        return Source(path, manifest=manifest if is_chosen else None)
    if os.path.exists(path / "saved_model.pb"):
        return Source(path)
    manifest = read_manifest(path)
    if manifest is not None and "chosen" in manifest:
        return Source(_chosen(path, manifest), "the checkpoint that training.json names", manifest=manifest)
    if os.path.isfile(path / QUANTIZATION):
        return _exported(path)
    inner = _of_mlflow(_mlflow_folder(path))
    if inner is not None:
        return Source(inner, "the model of the MLflow folder")
    for index in sorted(path.glob("*.index"))[:1]:
        _refuse_tensorflow_checkpoint(index)
    checkpoint = choose(path)
    return Source(checkpoint.path, checkpoint.reason)


def is_checkpoint_prefix(path: Path) -> bool:
    """Return whether `path` is what a program calls a TensorFlow checkpoint: no file itself, but one with ".index" after it."""
    return not os.path.lexists(path) and os.path.isfile(path.with_name(path.name + ".index"))


def _refuse_tensorflow_checkpoint(path: Path) -> None:
    """Raise InputRefused where `path` is a TensorFlow checkpoint: its prefix, its index or one of its data files."""
    prefix = path.with_name(DATA_FILE.sub("", path.name))
    index = prefix.with_name(prefix.name + ".index")
    if (path == prefix and os.path.lexists(path)) or not os.path.isfile(index):
        return
    raise InputRefused(
        f"{path}: is a TensorFlow checkpoint ({index.name}), which holds weights without a network; load it with "
        f'model.load_weights("{prefix.name}") in the program that made it, save the whole model, '
        'model.save("model.h5"), and give that file.'
    )


def _mlflow_folder(folder: Path) -> Path:
    """Return the folder of the one MLflow model in the folder of a run or of its artifacts, else `folder` itself."""
    if os.path.isfile(folder / "MLmodel"):
        return folder
    try:
        if any(path.name.endswith(MODELS) for path in folder.iterdir()):
            return folder
        places = [
            place
            for pattern in ("*/MLmodel", "artifacts/*/MLmodel")
            for place in sorted(folder.glob(pattern))
        ]
    except OSError:
        return folder  # `choose` says that it cannot be listed
    if len(places) > 1:
        names = " and ".join(str(place.parent.relative_to(folder)) for place in places[:2])
        raise InputRefused(
            f"{folder}: holds {len(places)} MLflow models, such as {names}; give the folder of one."
        )
    return places[0].parent if places else folder


def _of_mlflow(folder: Path) -> Path | None:
    """The model in a folder of MLflow's, or None where the folder is none or does not hold exactly one."""
    if not os.path.isfile(folder / "MLmodel"):
        return None
    candidates = [folder / name for name in OF_MLFLOW]
    models = [
        path for path in candidates if os.path.isfile(path / "saved_model.pb" if not path.suffix else path)
    ]
    if len(models) != 1:
        raise InputRefused(
            f"{folder}: is a folder of MLflow with {len(models)} models in it that can be opened; "
            "expected one Keras, ONNX or SavedModel model, so give the model's own file."
        )
    return models[0]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """`training.json` in `folder`, or None where there is none."""
    return read_record(folder / MANIFEST, "manifest of `safeml train`")


def read_record(path: Path, what: str) -> dict[str, Any] | None:
    """Return the JSON object at `path`, or None where there is no file. what: in messages, its kind.

    Raises InputRefused for any other content.
    """
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as stream:
            raw = stream.read(LIMITS.config_bytes + 1)
        if len(raw) > LIMITS.config_bytes:
            raise Refused(f"is larger than {LIMITS.config_bytes >> 20} MiB")
        manifest = parse(raw, "it")
    except (OSError, Refused) as error:
        raise InputRefused(f"{path}: {error}; expected the {what}.") from error
    if not isinstance(manifest, dict):
        raise InputRefused(f"{path}: is not a {what}; expected a JSON object.")
    return manifest


def architecture_beside(weights: Path) -> Path:
    """The JSON architecture beside a file of weights: of the same name, else the only one."""
    stem = weights.name.removesuffix(weights.suffix).removesuffix(".weights")
    named = weights.with_name(f"{stem}.json")
    if os.path.isfile(named):
        return named
    others = [path for path in sorted(weights.parent.glob("*.json")) if _is_architecture(path)]
    if len(others) == 1:
        return others[0]
    raise InputRefused(
        f"{weights}: holds weights alone, and {len(others)} JSON architectures stand beside it; "
        f"expected that of model.to_json() as {named.name}."
    )


def _is_architecture(path: Path) -> bool:
    """By a look at its head, to tell it from histories; the scan reads it whole."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as stream:
            return b'"class_name"' in stream.read(HEAD_BYTES)
    except OSError:
        return False


def _weights_beside(architecture: Path) -> Path:
    for suffix in WEIGHTS:
        weights = architecture.with_name(architecture.stem + suffix)
        if os.path.isfile(weights):
            return weights
    others = [path for suffix in WEIGHTS[1:] for path in sorted(architecture.parent.glob(f"*{suffix}"))]
    if len(others) == 1:
        return others[0]
    raise InputRefused(
        f"{architecture}: is an architecture without weights; {len(others)} HDF5 files stand beside it, "
        f"expected {architecture.stem}.weights.h5."
    )


def _exported(folder: Path) -> Source:
    """Return the INT8 file in the folder of `safeml quantize`."""
    if not os.path.isfile(folder / INT8_FILE):
        rejected = os.path.isfile(folder / f"rejected.{INT8_FILE}")
        state = f"whose {INT8_FILE} failed a check of its export" if rejected else f"without {INT8_FILE}"
        remedy = f"see {EXPORT}" if rejected else f"write it with `safeml export {folder}`"
        raise InputRefused(
            f"{folder}: holds a quantization {state}, which is the file to audit; {remedy}, or give one of its .keras files."
        )
    return Source(folder / INT8_FILE, f"the INT8 file of `safeml export` beside {QUANTIZATION}")


def _chosen(folder: Path, manifest: dict[str, Any]) -> Path:
    chosen = manifest.get("chosen")
    name = Path(str(chosen.get("file", ""))).name if isinstance(chosen, dict) else ""
    if name in ("", ".", "..") or not name.isprintable():
        raise InputRefused(f"{folder / MANIFEST}: names no chosen checkpoint; train again.")
    return folder / name
