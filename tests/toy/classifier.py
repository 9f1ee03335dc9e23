"""Templates in NumPy as a model under test, and images of them. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.results import ModelOrigin, ModelScan
from safeml.scan.snapshot import fingerprint
from safeml.scan.sources import find_model

K, SIZE, IMAGES = 4, 8, 80
# The model knows the templates of all classes but the last, so a quarter of its answers is incorrect.
KNOWN = K - 1


def templates() -> np.ndarray:
    """float64 [K, SIZE, SIZE, 3], 0..1."""
    return np.random.default_rng(0).uniform(0, 1, (K, SIZE, SIZE, 3))


@dataclass(eq=False)
class Templates:
    """The class of the template that correlates best. offset: added to every logit; another offset is another model."""

    fingerprint: str
    offset: float = 0.0
    name: str = "toy"
    classes: int = K
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=SIZE, width=SIZE))
    parameters: int = KNOWN * SIZE * SIZE * 3
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(32))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        pixels = images / 255.0 if images.dtype == np.uint8 else images
        centred = templates() - templates().mean(axis=(1, 2, 3), keepdims=True)
        centred[KNOWN:] = 0
        flat = pixels.reshape(len(pixels), -1)
        logits: np.ndarray = flat @ centred.reshape(K, -1).T + self.offset
        return logits.astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)


def write_data(file: Path, seed: int) -> None:
    """Noisy images of the templates, in equal numbers."""
    rng = np.random.default_rng(seed)
    labels = np.arange(IMAGES) % K
    noisy = templates()[labels] + rng.normal(0, 0.1, (IMAGES, SIZE, SIZE, 3))
    images = (noisy.clip(0, 1) * 255).astype(np.uint8)
    np.savez(file, images=images, labels=labels, class_names=np.array([f"class {k}" for k in range(K)]))


def write_model(file: Path, offset: float = 0.0) -> None:
    file.write_text(json.dumps({"offset": offset}))


def load_model(path: Path) -> Any:
    """In place of `safeml.classifiers.load.load_model`: what it returns, of a file of `write_model`."""
    source = find_model(path)
    raw = source.file.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    scan = ModelScan(
        status="accepted",
        path=source.file.name,
        format="Keras archive",
        sha256=fingerprint(source.file),
        bytes=len(raw),
        scanner=1,
    )
    model = Templates(digest, json.loads(raw)["offset"])
    return SimpleNamespace(
        model=SimpleNamespace(fed=lambda contract, class_names, name: model),
        source=source,
        title=source.file.stem,
        manifest=source.manifest,
        file_sha256=digest,
        origin=ModelOrigin(scan=scan, network="none", memory_limit=0, seconds_limit=0),
        check_unchanged=lambda: None,
    )
