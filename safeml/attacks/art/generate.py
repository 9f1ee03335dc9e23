"""An attack object of ART as one function of images and labels. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from safeml.attacks.art.budget import Watch
from safeml.attacks.art.estimator import breadth_estimator
from safeml.attacks.art.geoda import save_basis
from safeml.attacks.art.row import Row
from safeml.attacks.art.surroundings import home_elsewhere
from safeml.classifiers.base import DifferentiableClassifier
from safeml.threats import Threat

Generate = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
NOISE_STARTS = 100


def prepared(
    row: Row,
    classifier: DifferentiableClassifier,
    shape: tuple[int, ...],
    threat: Threat,
    batch: int,
    watch: Watch,
) -> Generate:
    """The attack of `row` as a function (images [N, H, W, C], labels [N], rng) -> [N, H, W, C]; ART is imported here.

    Each call makes a new attack object: some of them remember what they found last.
    """
    estimator = breadth_estimator(classifier, shape, row.outputs, watch)
    kind = _class(row.art_class)
    arguments = _arguments(row, kind, threat, batch)
    if "nb_parallel" in arguments:
        arguments["nb_parallel"] = min(arguments["nb_parallel"], math.prod(shape))

    def generate(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        attack = kind(estimator, **arguments)
        if attack.estimator is not estimator:
            # Auto-PGD and its like make an estimator for their loss: it would be neither counted nor stopped in time.
            loss = attack.estimator.loss_object
            attack._estimator = breadth_estimator(classifier, shape, row.outputs, watch, loss)
        answers = _labels(row, estimator, images, labels)
        if row.writes:
            save_basis(arguments["sub_dim"], images.shape[2])
        if row.threat == "patch":
            attack.generate(x=images, y=answers, shuffle=False)
            return np.asarray(attack.apply_patch(images, scale=arguments["scale_min"]))
        more: dict[str, Any] = {}
        if row.start:
            more["x_adv_init"] = _starts(estimator, images, rng)
        return np.asarray(attack.generate(x=images, y=answers, **more))

    return generate


def _class(name: str) -> Any:
    module, _, last = name.rpartition(".")
    with home_elsewhere():
        return getattr(importlib.import_module(module or "art.attacks.evasion"), last)


def _arguments(row: Row, kind: Any, threat: Threat, batch: int) -> dict[str, Any]:
    arguments = dict(row.parameters)
    arguments |= {key: times * threat.epsilon for key, times in row.of_epsilon.items()}
    if row.takes_norm:
        arguments["norm"] = np.inf if threat.norm == "linf" else 2
    if row.inner:
        sizes = {key: times * threat.epsilon for key, times in row.inner_of_epsilon.items()}
        arguments["attacker_params"] = {**row.inner, **sizes, "norm": arguments["norm"]}
    if row.group != "one" and "batch_size" in inspect.signature(kind.__init__).parameters:
        arguments["batch_size"] = batch
    return arguments


def _labels(row: Row, estimator: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """What `generate` is given as y. A target is the runner-up; one target for all is the runner-up of their sum."""
    if row.labels == "none":
        return None
    chosen = labels
    if row.labels in ("target", "one target"):
        scores = estimator.predict(images).astype(np.float64)
        if row.labels == "one target":
            scores = np.broadcast_to(scores.sum(axis=0), scores.shape).copy()
        scores[np.arange(len(labels)), labels] = -np.inf
        chosen = scores.argmax(axis=1)
        if row.labels == "one target":
            chosen = np.full_like(chosen, np.bincount(chosen).argmax())
    return np.eye(estimator.nb_classes, dtype=np.float32)[chosen]


def _starts(estimator: Any, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each image a picture of another class: noise, black, white or the negative; the image itself where none is."""
    noise = rng.uniform(0.0, 1.0, (NOISE_STARTS, *images.shape[1:]))
    starts = images.copy()
    for i, image in enumerate(images):
        tried = np.concatenate([noise, [np.zeros_like(image), np.ones_like(image), 1.0 - image]]).astype(
            np.float32
        )
        answers = estimator.predict(np.concatenate([image[None], tried])).argmax(axis=1)
        other = np.flatnonzero(answers[1:] != answers[0])
        if len(other):
            starts[i] = tried[other[0]]
    return starts
