"""What an export reads: the folder of `safeml quantize`, and images to compare on. Legend: N images, H W C pixels."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safeml.errors import ConfigError, InputRefused, MissingInput, StageError, first_line
from safeml.quantization.record import FILE as MANIFEST
from safeml.quantization.record import IMAGES, read_record
from safeml.store.files import file_sha256

INT8_KERAS, FLOAT_KERAS = "int8.keras", "float.keras"
MOST_IMAGES = 1024
MADE = 64
# Of numpy.load on a damaged archive, on an empty file, and on the one array of a .npy file, which is no context manager.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, TypeError)
MADE_WORDS = "made images in the range of the first quantizer"


@dataclass(frozen=True)
class Material:
    """What is exported.

    model: the fake-quantized keras.Model.
    float_model: the float keras.Model beside it, or None.
    images: float32 [N, H, W, C], in the values that the model takes.
    images_from: where the images come from, in words.
    real: the images are the user's, and not made here.
    keep_float: layers that stay in float, each with the reason.
    sparse: layers that were pruned in the pattern 2:4.
    sources: sha256 of each file that was read.
    work: an empty folder for the files.
    batch: number of images of the ONNX input, or None for any.
    opset: of the ONNX files.
    values: the outputs are the values of a regression.
    """

    model: Any
    float_model: Any
    images: np.ndarray
    images_from: str
    real: bool
    keep_float: dict[str, str]
    sources: dict[str, str]
    work: Path
    batch: int | None
    opset: int
    sparse: tuple[str, ...] = ()
    values: bool = False


def read(folder: Path, work: Path, images: Path | None, batch: int | None, opset: int) -> Material:
    """Read the folder of `safeml quantize`.

    images: a .npz file with float32 `images` in the values that the model takes; None takes `calibration.npz` of the folder,
    or makes images. Raises MissingInput where there is no quantized model, and InputRefused where it does not load.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder}: is not a folder; give the folder of `safeml quantize`.")
    file = folder / INT8_KERAS
    if not file.is_file():
        raise MissingInput(
            f"{file}: does not exist; make it with `safeml quantize quantize.toml -o {folder}`."
        )
    manifest = read_record(folder)
    if manifest is None:
        raise MissingInput(
            f"{folder / MANIFEST}: does not exist; `safeml quantize` writes it beside {INT8_KERAS}."
        )
    sources = {file.name: file_sha256(file)}
    declared = _entry(manifest, "files", "int8").get("sha256")
    if declared is not None and declared != sources[file.name]:
        raise InputRefused(
            f"{folder / MANIFEST}: describes another {INT8_KERAS}; quantize again with `safeml quantize`."
        )
    model = open_model(file)
    beside = folder / FLOAT_KERAS
    if beside.is_file():
        sources[beside.name] = file_sha256(beside)
    values, words = _images(images, folder / IMAGES, model)
    return Material(
        model=model,
        float_model=open_model(beside) if beside.is_file() else None,
        images=values,
        images_from=words,
        real=words != MADE_WORDS,
        keep_float=_float_layers(manifest),
        sources=sources,
        work=work,
        batch=batch,
        opset=opset,
        sparse=_sparse_layers(manifest),
        values=bool(_entry(manifest, "settings", "data").get("targets")),
    )


def open_model(file: Path) -> Any:
    """Return the Keras model in a scanned `.keras` file. Raises InputRefused where the scan or Keras refuses it."""
    from safeml import framework
    from safeml.scan.scan import scanned

    with scanned(file) as found:
        if found.scan.status == "refused":
            raise InputRefused(f"{file}: {found.scan.reason}.")
        if found.scan.status == "inconclusive" or found.copy is None:
            raise StageError(f"{file}: is not known to be safe, so it is not loaded: {found.scan.reason}.")
        framework.start()
        from safeml.classifiers.keras_files import open_archive

        return open_archive(found.copy, str(file))[0]


def _entry(manifest: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a table inside the manifest; empty where there is none."""
    found: Any = manifest
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _float_layers(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the layers that the manifest says are not quantized, each with its reason."""
    rows = manifest.get("layers")
    return {
        str(row.get("name")): str(row.get("reason") or "not quantized")
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and row.get("quantized") is False
    }


def _sparse_layers(manifest: dict[str, Any]) -> tuple[str, ...]:
    """Return the layers that the manifest says were pruned in the pattern 2:4, by their names in the quantized model if it has them."""
    pruning = _entry(manifest, "pruning")
    rows = pruning.get("layers")
    if pruning.get("kind") != "2:4" or not isinstance(rows, list):
        return ()
    return tuple(
        str(row.get("int8_layer") or row.get("name"))
        for row in rows
        if isinstance(row, dict) and not row.get("reason")
    )


def _images(given: Path | None, beside: Path, model: Any) -> tuple[np.ndarray, str]:
    file = given or (beside if beside.is_file() else None)
    if file is None:
        return made_images(model), MADE_WORDS
    try:
        with np.load(file, allow_pickle=False) as arrays:
            values = arrays["images"]
    except FileNotFoundError:
        raise MissingInput(f"{file}: does not exist; expected a .npz file with an array `images`.") from None
    except (*DAMAGED, OSError, ValueError, KeyError) as error:
        raise InputRefused(
            f"{file}: has no array `images` ({first_line(error)}); expected a .npz file with one."
        ) from error
    expected = tuple(model.inputs[0].shape[1:])
    if values.dtype != np.float32 or values.shape[1:] != expected or not len(values):
        raise InputRefused(
            f"{file}: `images` is {values.dtype} {list(values.shape)}; expected float32 [N, {', '.join(map(str, expected))}] in the "
            "values that the model takes."
        )
    if not np.isfinite(values).all():
        raise InputRefused(f"{file}: `images` holds values that are not finite; expected finite numbers.")
    step = max(1, len(values) // MOST_IMAGES)
    return values[::step][:MOST_IMAGES], f"{file.name}"


def made_images(model: Any, count: int = MADE) -> np.ndarray:
    """Return smooth random images, float32 [count, H, W, C], as large as the range of the model's first quantizer.

    They show whether two forms of a model compute the same. Accuracy needs real images.
    """
    from safeml.int8.layers import ActivationQuantizer

    quantizers = [layer for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    if not quantizers:
        raise InputRefused(f"{model.name}: has no quantizers; give a model of `safeml quantize`.")
    largest = 127 * float(np.asarray(quantizers[0].scale))
    height, width, channels = model.inputs[0].shape[1:]
    generator = np.random.default_rng(0)
    coarse = generator.random((count, -(-height // 4), -(-width // 4), channels))
    smooth = coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width]
    fine = generator.random((count, height, width, channels))
    return np.asarray((0.7 * smooth + 0.3 * fine) * largest, np.float32)


def check_opset(opset: int, low: int, high: int) -> None:
    """Raise ConfigError for an opset that the export does not write."""
    if not low <= opset <= high:
        raise ConfigError(f"--opset {opset} is out of range; expected {low} to {high}.")
