"""Fit a recipe with `keras.callbacks.ModelCheckpoint` and leave a manifest of what was chosen, and why."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.classifiers.fingerprint import model_fingerprint
from safeml.config import AugmentSettings, Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.training.architectures import ARCHITECTURES
from safeml.training.augment import augmentation

MANIFEST = "training.json"
CHECKPOINT_NAMES = {
    "val_accuracy": "{epoch:02d}-{val_accuracy:.4f}.keras",
    "val_loss": "{epoch:02d}-{val_loss:.4f}.keras",
}


def fit(
    recipe: Recipe,
    train: ImageDataset,
    valid: ImageDataset,
    folder: Path,
    on_epoch: Callable[[dict[str, Any]], None] = lambda epoch: None,
) -> Path:
    """Train, keep the best checkpoint by the full-precision monitor, and write `training.json` beside it.

    `folder` receives `checkpoints/` (what ModelCheckpoint wrote, optimizer included), the chosen checkpoint without its
    optimizer under the same file name, and the manifest. Raises StageError when the loss stops being finite.
    """
    keras.utils.set_random_seed(recipe.seed)
    height, width = train.images.shape[1:3]
    model = ARCHITECTURES[recipe.architecture](
        height,
        width,
        train.classes,
        base=recipe.width,
        dropout=recipe.dropout,
        bn_momentum=recipe.bn_momentum,
    )
    averaged = recipe.weight_average > 0
    steps = -(-len(train) // recipe.batch) * recipe.epochs
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20, steps - warmup, warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(
            schedule,
            weight_decay=recipe.weight_decay,
            use_ema=averaged,
            ema_momentum=recipe.weight_average or 0.99,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True)
    pattern = CHECKPOINT_NAMES[recipe.monitor]
    history = _History(pattern, on_epoch)
    saver = keras.callbacks.ModelCheckpoint(
        checkpoints / pattern, monitor=recipe.monitor, save_best_only=recipe.save_best_only
    )
    model.fit(
        _batches(train, recipe.batch, recipe.augment, recipe.seed),
        validation_data=_batches(valid, recipe.batch, None, recipe.seed),
        epochs=recipe.epochs,
        shuffle=False,  # _batches does
        verbose=0,
        # The average is swapped in before validation and saving, so it must come before the saver.
        callbacks=[
            *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averaged else []),
            history,
            saver,
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    if len(history.epochs) < recipe.epochs:
        raise StageError(
            f"{recipe.name}: the loss stopped being finite in epoch {len(history.epochs) + 1}; lower learning_rate ({recipe.learning_rate:g})."
        )
    return _publish(recipe, train, valid, folder, history.epochs)


class _History(keras.callbacks.Callback):
    """Each epoch's metrics at full precision: the rounded checkpoint name ties 0.98204 with 0.98196."""

    def __init__(self, pattern: str, on_epoch: Callable[[dict[str, Any]], None]):
        super().__init__()
        self.pattern = pattern
        self.on_epoch = on_epoch
        self.epochs: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(values.get("loss", np.nan)):
            return
        file = self.pattern.format(epoch=epoch + 1, **values)
        entry = {"epoch": epoch + 1, **values, "file": file}
        self.epochs.append(entry)
        self.on_epoch(entry)


def _publish(
    recipe: Recipe, train: ImageDataset, valid: ImageDataset, folder: Path, epochs: list[dict[str, Any]]
) -> Path:
    best = (max if recipe.monitor == "val_accuracy" else min)(epochs, key=lambda entry: entry[recipe.monitor])
    model = keras.models.load_model(folder / "checkpoints" / best["file"], compile=False, safe_mode=True)
    chosen = folder / best["file"]
    partial = folder / f".{best['file']}.tmp.keras"
    model.save(partial)
    _compress(partial)
    partial.replace(chosen)
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
        "train": _identity(train),
        "valid": _identity(valid),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
    }
    partial = folder / f".{MANIFEST}.tmp"
    partial.write_text(
        json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )
    partial.replace(folder / MANIFEST)
    return chosen


def _compress(archive: Path) -> None:
    """Deflate the members, which Keras stores as they are, and leave out every date: equal models are equal files."""
    with zipfile.ZipFile(archive) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    metadata = json.loads(members["metadata.json"])
    members["metadata.json"] = json.dumps({"keras_version": metadata["keras_version"]}).encode()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as deflated:
        for name, content in members.items():
            undated = zipfile.ZipInfo(name)
            undated.compress_type = zipfile.ZIP_DEFLATED
            deflated.writestr(undated, content)


def _identity(data: ImageDataset) -> dict[str, Any]:
    signs = None if data.tracks is None else len(np.unique(data.tracks))
    return {"name": data.name, "fingerprint": data.fingerprint, "images": len(data), "signs": signs}


def _batches(data: ImageDataset, batch: int, augment: AugmentSettings | None, seed: int) -> tf.data.Dataset:
    batches = tf.data.Dataset.from_tensor_slices((data.images, data.labels))
    if augment is not None:
        batches = batches.shuffle(len(data), seed=seed, reshuffle_each_iteration=True)

    def prepare(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(images, tf.float32) / 255.0, tf.one_hot(labels, data.classes)

    batches = batches.batch(batch).map(prepare)
    if augment is not None:
        layers = augmentation(augment, seed)
        batches = batches.map(
            lambda images, labels: (layers(images, training=True), labels), num_parallel_calls=2
        )
    return batches.prefetch(2)
