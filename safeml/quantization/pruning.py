"""Pruning in training: a callback that sets the smallest weights to 0 by a schedule, and what is recorded of it.

The pruned weights are those that are 0, so an interrupted training needs no further state: the zeros in the saved kernels are the
masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from safeml.config.quantization import PruneSettings, QuantizeSettings
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.int8.layers import QuantizedKernel
from safeml.metrics.decisions import change_record, decision_record
from safeml.quantization.sparsity import (
    ONE_INPUT,
    Slot,
    choices,
    depthwise_layers,
    progress,
    slots,
    violations,
    zeros,
)


@dataclass(frozen=True)
class Schedule:
    """The steps of a pruning: the sparsity rises after step `first`, every `interval` steps, and is full from step `last` on."""

    settings: PruneSettings
    first: int
    last: int

    def due(self, step: int) -> bool:
        """Return whether weights are selected after `step` steps."""
        inside = self.first < step < self.last
        return step == self.last or (inside and (step - self.first) % self.settings.interval == 0)


def schedule(settings: PruneSettings, steps: int) -> Schedule:
    """Return the schedule of a fit of `steps` steps."""
    last = max(1, round(settings.end * steps))
    return Schedule(settings, min(last - 1, round(settings.begin * steps)), last)


def first_full_epoch(settings: PruneSettings, steps_per_epoch: int) -> int:
    """Return the first epoch, counted from 0, at whose end the sparsity is full."""
    return (schedule(settings, settings.epochs * steps_per_epoch).last - 1) // steps_per_epoch


def pruning_fit(settings: QuantizeSettings) -> QuantizeSettings:
    """Return the settings of the fit that prunes: those of the quantization, with the epochs and the rate of [prune]."""
    prune = settings.prune
    if prune is None:
        raise ValueError("the settings have no table [prune]")
    rate = settings.learning_rate if prune.learning_rate is None else prune.learning_rate
    return settings.model_copy(update={"epochs": prune.epochs, "learning_rate": rate})


class Pruning(keras.callbacks.Callback):
    """A callback to hold pruned weights at 0 in every step, and to prune further ones by a schedule.

    A mask is a constraint of the variable, which the optimizer applies after its update, so that no update revives a weight. The
    class of the model, and so its file, does not change. A moving average of the weights is masked where it is validated.

    selected: returns the kernels. plan: when to prune; None holds the present zeros only.
    """

    def __init__(self, selected: Callable[[keras.Model], list[Slot]], plan: Schedule | None = None) -> None:
        super().__init__()
        self.selected = selected
        self.plan = plan
        self.masked: list[tuple[Slot, tf.Variable]] = []
        self.others: list[Any] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Make the masks, all true, and the constraints."""
        self.masked, self.others = [], []
        for slot in self.selected(self.model):
            mask = tf.Variable(tf.ones(slot.kernel.shape, tf.bool), trainable=False)
            self.masked.append((slot, mask))
            self.others.append(slot.kernel.constraint)
            slot.kernel.constraint = _held(mask, slot.kernel.constraint)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Read the masks from the weights, as a resumed training must."""
        if self.plan is None or self._step() > self.plan.first:
            for slot, mask in self.masked:
                mask.assign(slot.kernel.numpy() != 0)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Prune further weights where that is due."""
        step = self._step()
        if self.plan is None or not self.plan.due(step):
            return
        share = progress(step, self.plan.first, self.plan.last)
        for slot, mask in self.masked:
            mask.assign(slot.shaped(~zeros(slot.values(), self.plan.settings, share)))
        self._apply()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Mask the weights that are validated, which may be a moving average."""
        self._apply()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Give each kernel the constraint back that it had."""
        for (slot, _), other in zip(self.masked, self.others, strict=True):
            slot.kernel.constraint = other

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _apply(self) -> None:
        for slot, mask in self.masked:
            slot.kernel.assign(tf.where(mask, slot.kernel, 0.0))


def _held(mask: tf.Variable, other: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Return the constraint of a mask, after the `other` one of the kernel."""

    def constraint(kernel: Any) -> Any:
        return tf.where(mask, tf.convert_to_tensor(other(kernel) if other is not None else kernel), 0.0)

    return constraint


def pruning_callback(settings: PruneSettings, steps: int, where: str) -> Pruning:
    """Return the callback of a fit of `steps` steps that prunes a float model. where: the name of the model in messages."""

    def selected(model: keras.Model) -> list[Slot]:
        return [choice.slot for choice in choices(model, settings, where) if not choice.reason]

    return Pruning(selected, schedule(settings, steps))


def holding_callback() -> Pruning:
    """Return the callback of a fit of a pruned model, float or quantized, that keeps all its zeros."""
    return Pruning(slots)


def layer_rows(
    pruned: keras.Model, quantized: keras.Model, settings: PruneSettings, where: str
) -> list[dict[str, Any]]:
    """Return each layer with a kernel: its weights, its zeros in float and in INT8, and why it is not pruned.

    where: the name of the model in messages. Raises StageError if a pruned layer has not the sparsity of the settings.
    """
    rows: list[dict[str, Any]] = []
    decided = choices(pruned, settings, where)
    of_int8 = int8_zeros([choice.slot.name for choice in decided if not choice.reason], quantized)
    for choice in decided:
        name, matrix = choice.slot.name, choice.slot.values()
        count, broken = int(np.sum(matrix == 0)), violations(matrix)
        row = {"name": name, "kind": choice.slot.kind, "weights": matrix.size, "zeros": count}
        row |= {"violations": broken, "reason": choice.reason, **of_int8.get(name, {})}
        rows.append(row)
        if not choice.reason and not _is_sparse(row, settings):
            raise StageError(
                f"{where}: {name} has {count:,} zeros in {matrix.size:,} weights after pruning, and {broken:,} groups of four without "
                "two; this is a defect of safeml, please report the settings."
            )
    return rows + [
        {"name": name, "kind": kind, "reason": ONE_INPUT} for name, kind in depthwise_layers(pruned)
    ]


def _is_sparse(row: dict[str, Any], settings: PruneSettings) -> bool:
    """Return whether a pruned layer has the promised zeros, in float and, where its INT8 layer is known, in INT8."""
    least = round(settings.sparsity * row["weights"])
    enough = row["zeros"] >= least and row.get("int8_zeros", least) >= least
    whole_groups = not (row["violations"] or row.get("int8_violations", 0))
    return enough and (settings.kind != "2:4" or whole_groups)


def int8_zeros(names: list[str], quantized: keras.Model) -> dict[str, dict[str, Any]]:
    """Return the zeros among the INT8 codes of pruned layers, and the groups of four without two zeros, by layer.

    names: of the pruned layers. Each entry names its layer in the quantized model; a layer that the rewriting renamed has none.
    """
    result: dict[str, dict[str, Any]] = {}
    by_name = {slot.name: slot for slot in slots(quantized)}
    for name in names:
        slot = by_name.get(name) or by_name.get(f"{name}_pointwise")
        if slot is None:
            continue
        layer = quantized.get_layer(slot.name)
        values = slot.values()
        if isinstance(layer, QuantizedKernel):
            values = slot.matrix(np.asarray(layer.quantized_kernel()).reshape(slot.kernel.shape))
        result[name] = {
            "int8_layer": slot.name,
            "int8_zeros": int(np.sum(values == 0)),
            "int8_violations": violations(values),
        }
    return result


def deltas(decisions: dict[str, np.ndarray], data: ImageDataset) -> dict[str, Any]:
    """Return what changed on the validation images, by model: the class of the lowest recall, images lost and gained,
    and the class whose recall falls most.

    decisions: int64 [N] by model; the first is the float model before pruning.
    """
    first = next(iter(decisions))
    rows = {name: decision_record(given, data.labels, data.class_names) for name, given in decisions.items()}
    for name, given in decisions.items():
        if name != first:
            rows[name] |= change_record(decisions[first], given, data.labels, data.class_names)
    return rows
