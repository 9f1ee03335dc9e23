"""Publication of the selected checkpoint and its manifest, `training.json`."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.classifiers.fingerprint import model_fingerprint
from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError, first_line
from safeml.store.files import atomic_write

MANIFEST = "training.json"
LOWER_IS_BETTER = ("val_loss", "val_mae", "val_rmse")
SHARED = re.compile(rb'("shared_object_id": )(\d+)')


def publish(
    recipe: Recipe,
    train: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    epochs: list[dict[str, Any]],
    extra: dict[str, Any],
) -> Path:
    """Write the best checkpoint without its optimizer, then the manifest, into `folder`."""
    best = best_epoch(epochs, recipe.monitor)
    model = best_model(folder, epochs, recipe.monitor)
    chosen = folder / best["file"]
    model.trainable = False  # Keras does not propagate an unchanged value to the layers
    model.trainable = True  # freezing is a matter of training, not of the model
    atomic_write(chosen, small_archive(model, folder))
    manifest = {
        "recipe": recipe.model_dump(mode="json"),
        "epochs": epochs,
        "chosen": {
            "file": best["file"],
            "epoch": best["epoch"],
            "monitor": recipe.monitor,
            "value": best[recipe.monitor],
        },
        "model_fingerprint": model_fingerprint(model),
        "parameters": int(model.count_params()),
        "train": identity(train),
        "valid": identity(valid),
        "versions": versions(),
        **extra,
    }
    atomic_write(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n")
    return chosen


def best_model(folder: Path, epochs: list[dict[str, Any]], monitor: str) -> keras.Model:
    """Return the model of the best epoch. Raises StageError if its checkpoint in `folder` cannot be read."""
    file = folder / "checkpoints" / best_epoch(epochs, monitor)["file"]
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except ValueError as error:
        raise StageError(
            f"{file}: cannot be read ({first_line(error)}); start again with --force."
        ) from error


def best_epoch(epochs: list[dict[str, Any]], monitor: str) -> dict[str, Any]:
    """Return the first best epoch at full precision: rounded names tie 0.98204 with 0.98196."""
    return (min if monitor in LOWER_IS_BETTER else max)(epochs, key=lambda entry: entry[monitor])


def small_archive(model: keras.Model, folder: Path) -> bytes:
    """Return the model as a compressed .keras file without dates (Keras does not compress): equal models, equal files.

    Keras numbers the objects that layers share by their addresses in memory; here they are numbered by their first place.
    """
    partial = folder / ".model.tmp.keras"
    try:
        model.save(partial)
        with zipfile.ZipFile(partial) as stored:
            members = {name: stored.read(name) for name in stored.namelist()}
    finally:
        partial.unlink(missing_ok=True)
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({"keras_version": metadata["keras_version"]}).encode()
    numbers: dict[bytes, int] = {}
    members["config.json"] = SHARED.sub(
        lambda found: b"%s%d" % (found[1], numbers.setdefault(found[2], len(numbers) + 1)),
        members["config.json"],
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as deflated:
        for name, content in members.items():
            undated = zipfile.ZipInfo(name)
            undated.compress_type = zipfile.ZIP_DEFLATED
            deflated.writestr(undated, content)
    return stream.getvalue()


def versions() -> dict[str, str]:
    return {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}


def identity(data: ImageDataset) -> dict[str, Any]:
    signs = None if data.tracks is None else len(np.unique(data.tracks))
    return {"name": data.name, "fingerprint": data.fingerprint, "images": len(data), "signs": signs}
