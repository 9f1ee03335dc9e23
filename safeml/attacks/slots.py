"""Keeps the slots of the engine full: a finished image leaves its slot, and the next one enters.

An image's attempts (restarts, target classes) come one after the other, each only if the one before failed. Which images
share a batch changes nothing but float rounding: starts and draws depend only on (seed, attempt, id).

Legend: N images, B slots, H W C pixels, K classes, S steps between two returns to Python.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from safeml.attacks.base import SURVIVED, AttackOutcome, Budget
from safeml.attacks.engine import Compiled, compile_for, lanes_of
from safeml.attacks.method import Method
from safeml.attacks.norms import NORMS
from safeml.attacks.targets import given_type
from safeml.classifiers.base import DifferentiableClassifier
from safeml.errors import StageError
from safeml.threats import Threat

FEWEST = 8  # slots; fewer would save less time than their trace costs
DRAWS = 1  # purpose of random numbers, beside the starts


def attack(
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    method: Method,
    budget: Budget,
    ids: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    scales: np.ndarray | None = None,
) -> AttackOutcome:
    """Attack each image, inside the ball of `threat` and inside 0..1, until it breaks or its attempts are used up.

    images: float32 [N, H, W, C], 0..1. labels: int [N], 0..K-1; of a judged regression model the targets, float [N, T]. ids: int [N], >= 0; default 0..N-1.
    targets: int [N, T], T >= budget.attempts: the class that each attempt leads to, for a targeted loss.
    scales: float [N], factor on the logits of each image before the loss; default 1. It changes no prediction.
    An image that is misclassified, or whose logits or gradient are not finite, is broken: it keeps the iterate at which
    that was first seen. Images misclassified when clean are not attacked.
    Raises StageError for arrays of another shape or type, or a budget below one; MemoryError where a batch does not fit.
    """
    _check(images, labels, budget)
    return _Attack(
        classifier,
        images,
        labels.astype(given_type(labels)),
        threat,
        method,
        budget,
        np.arange(len(images)) if ids is None else ids,
        np.zeros((len(images), budget.attempts), np.int32) if targets is None else targets.astype(np.int32),
        np.ones(len(images), np.float32) if scales is None else scales.astype(np.float32),
    ).run()


class _Attack:
    def __init__(
        self,
        classifier: DifferentiableClassifier,
        images: np.ndarray,
        labels: np.ndarray,
        threat: Threat,
        method: Method,
        budget: Budget,
        ids: np.ndarray,
        targets: np.ndarray,
        scales: np.ndarray,
    ) -> None:
        count = len(images)
        self.images, self.labels, self.ids, self.targets = images, labels, ids, targets
        self.scales = scales
        self.threat, self.method, self.budget, self.norm = threat, method, budget, NORMS[threat.norm]
        self.compiled: Compiled = compile_for(classifier, self.norm, method)  # type: ignore[arg-type]  # hashed by identity, and by kind
        self.hyperparameters = method.hyperparameters(threat.epsilon, budget.steps, images.shape[1:])
        self.adversarial = images.copy()
        self.first_step = np.full(count, SURVIVED, np.int64)
        self.flat = np.zeros(count, bool)
        self.attempt = np.zeros(count, np.int64)
        self.evaluations = np.zeros(count, np.int64)
        self.unconverged = np.zeros(count, np.float32)
        self.queue: deque[tuple[int, int]] = deque()
        self.unsure: list[tuple[int, int, np.ndarray]] = []  # last iterates that are not predicted yet

    def run(self) -> AttackOutcome:
        rows = np.arange(len(self.images))
        clean_wrong = (
            np.zeros(len(rows), bool) if self.budget.clean_checked else self._broken(self.images, rows)
        )
        self.first_step[clean_wrong] = 0
        self.queue.extend((int(row), self.budget.first) for row in np.flatnonzero(~clean_wrong))
        while self.queue or self.unsure:
            if self.queue:
                self._drain()
            self._settle()
        return AttackOutcome(
            self.adversarial, self.first_step, self.flat, self.attempt, self.evaluations, self.unconverged
        )

    def _drain(self) -> None:
        """Run slots until no image waits and none is under way."""
        size = min(self.budget.batch, len(self.queue))
        slots = lanes_of(size, self.images.shape[1:], self.method, self.labels)
        jobs: list[tuple[int, int] | None] = [None] * size
        while True:
            slots = self._fill(slots, jobs)
            if not any(jobs):
                return
            slots, jobs = self._fewer(slots, jobs)
            slots = self.compiled.advance(slots, self.hyperparameters, self._draws(slots, jobs))
            self._retire(slots, jobs)
            # A whole batch of last iterates is predicted as soon as there is one, so that no more wait in memory.
            while len(self.unsure) >= self.budget.batch:
                self._settle()

    def _fill(self, slots: Any, jobs: list[tuple[int, int] | None]) -> Any:
        empty = [slot for slot, job in enumerate(jobs) if job is None]
        new = [slot for slot, _ in zip(empty, range(len(self.queue)), strict=False)]
        if not new:
            return slots
        for slot in new:
            jobs[slot] = self.queue.popleft()
        rows = np.array([jobs[slot][0] for slot in new])  # type: ignore[index]
        attempts = np.array([jobs[slot][1] for slot in new])  # type: ignore[index]
        size = len(jobs)
        mask = np.zeros(size, bool)
        mask[new] = True
        clean, start = np.zeros((2, size, *self.images.shape[1:]), np.float32)
        labels = np.zeros((size, *self.labels.shape[1:]), self.labels.dtype)
        targets = np.zeros(size, np.int32)
        clean[new], labels[new] = self.images[rows], self.labels[rows]
        scales = np.ones(size, np.float32)
        scales[new] = self.scales[rows]
        targets[new] = self.targets[rows, np.minimum(attempts, self.targets.shape[1] - 1)]
        for attempt in np.unique(attempts):
            chosen = attempts == attempt
            start[np.array(new)[chosen]] = self.method.start(
                self.norm,
                self.images[rows[chosen]],
                self.threat.epsilon,
                self.ids[rows[chosen]],
                self.budget.seed,
                int(attempt),
            )
        return self.compiled.enter(slots, mask, clean, start, labels, targets, scales)

    def _fewer(self, slots: Any, jobs: list[tuple[int, int] | None]) -> tuple[Any, Any]:
        """Halve the slots while at most half of them are busy."""
        import tensorflow as tf

        busy = [slot for slot, job in enumerate(jobs) if job is not None]
        size = len(jobs)
        while size > FEWEST and len(busy) <= size // 2:
            size = max(-(-size // 2), FEWEST)
        if size == len(jobs):
            return slots, jobs
        kept = (busy + [slot for slot in range(len(jobs)) if jobs[slot] is None])[:size]
        return tf.nest.map_structure(lambda value: tf.gather(value, kept), slots), [
            jobs[slot] for slot in kept
        ]

    def _draws(self, slots: Any, jobs: list[tuple[int, int] | None]) -> np.ndarray:
        """float32 [S, B, D]: the random numbers of the next steps of each slot."""
        steps = min(self.method.stride, self.budget.steps)
        draws = np.zeros((steps, len(jobs), self.method.draws), np.float32)
        if self.method.draws:
            for slot, (job, count) in enumerate(zip(jobs, slots["count"].numpy(), strict=True)):
                if job is not None:
                    key = [self.budget.seed, job[1], int(self.ids[job[0]]), DRAWS, int(count)]
                    draws[:, slot] = np.random.default_rng(key).random(draws[:, slot].shape, np.float32)
        return draws

    def _retire(self, slots: Any, jobs: list[tuple[int, int] | None]) -> None:
        going, count, first = (slots[name].numpy() for name in ("going", "count", "first"))
        done = [slot for slot, job in enumerate(jobs) if job is not None and not going[slot]]
        if not done:
            return
        found = self.compiled.result(slots).numpy()
        flat, best, least, earlier = (slots[name].numpy() for name in ("flat", "best", "least", "earlier"))
        for slot in done:
            row, attempt = jobs[slot]  # type: ignore[misc]
            jobs[slot] = None
            broken = first[slot] != SURVIVED
            self.evaluations[row] += count[slot] + int(broken and self.method.leaves)
            if attempt == self.budget.first:
                self.flat[row] = flat[slot]
            self.attempt[row] = attempt
            span = best[slot] - least[slot]
            gained = (best[slot] - earlier[slot]) / span if np.isfinite(span) and span > 0 else 0.0
            self.unconverged[row] = np.clip(gained, 0.0, 1.0)
            if broken:
                self.adversarial[row] = found[slot]
                self.first_step[row] = first[slot] + int(self.method.moved_start)
            elif self.method.leaves:
                self.unsure.append((row, attempt, found[slot]))
            else:
                self.adversarial[row] = found[slot]
                self._next(row, attempt)

    def _settle(self) -> None:
        """Predict last iterates: an image that is not broken gets its next attempt."""
        waiting, self.unsure = self.unsure[: self.budget.batch], self.unsure[self.budget.batch :]
        if not waiting:
            return
        last = np.stack([image for _, _, image in waiting])
        broken = self._broken(last, np.array([row for row, _, _ in waiting]))
        for (row, attempt, image), wrong in zip(waiting, broken, strict=True):
            self.adversarial[row] = image
            self.evaluations[row] += 1
            if wrong:
                self.first_step[row] = self.budget.steps + int(self.method.moved_start)
            else:
                self._next(row, attempt)

    def _next(self, row: int, attempt: int) -> None:
        if attempt + 1 < self.budget.attempts:
            self.queue.append((row, attempt + 1))

    def _broken(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        size = self.budget.batch
        parts = [
            self.compiled.broken(
                images[start : start + size], self.labels[rows[start : start + size]]
            ).numpy()
            for start in range(0, len(images), size)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, bool)


def _check(images: np.ndarray, labels: np.ndarray, budget: Budget) -> None:
    if images.dtype != np.float32 or images.ndim != 4:
        raise StageError(
            f"attack: images are {images.dtype} {list(images.shape)}; expected float32 [N, H, W, C]."
        )
    if labels.shape[:1] != (len(images),) or (labels.ndim > 1) != (labels.dtype.kind == "f"):
        raise StageError(
            f"attack: labels are {labels.dtype} {list(labels.shape)}; expected one for each of {len(images)} images."
        )
    if min(budget.steps, budget.attempts, budget.batch) < 1:
        raise StageError(
            f"attack: steps, attempts, batch are {budget.steps}, {budget.attempts}, {budget.batch}; expected at least 1 each."
        )
    if not 0 <= budget.first < budget.attempts:
        raise StageError(
            f"attack: the first attempt is {budget.first} of {budget.attempts}; expected 0-{budget.attempts - 1}."
        )
