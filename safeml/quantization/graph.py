"""A Keras model as a flat list of steps, for rewriting: read it, change the steps, make a model of them again.

Nested models are flattened. Each part (a layer or an operation of `keras.ops`) is a copy; two steps share a part where the
model calls a layer twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from safeml.errors import InputRefused
from safeml.quantization.refusals import check_layer, check_model


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    shape: of the Keras tensor, None for an unknown dimension.
    dtype: its name.
    name: of the layer that gives it.
    """

    shape: tuple[int | None, ...]
    dtype: str
    name: str


@dataclass(frozen=True, eq=False)
class Part:
    """A layer or an operation.

    name: unique in the graph.
    kind: its class.
    config: what `kind.from_config` takes, without the name.
    weights: as of `get_weights`; empty for an operation.
    source: the layer that it was read from; None for a part made by a rewriting.
    """

    name: str
    kind: type
    config: dict[str, Any]
    weights: tuple[np.ndarray, ...] = ()
    source: Any = None


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a part. args, kwargs: each tensor among them is a `Value`."""

    part: Part
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors that the step reads, in the order of its arguments."""
        return values_of((self.args, self.kwargs))

    def reading(self, changed: dict[Value, Value]) -> Step:
        """Return the step with other inputs."""

        def swap(value: Any) -> Any:
            return changed.get(value, value) if isinstance(value, Value) else value

        args, kwargs = keras.tree.map_structure(swap, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs)


@dataclass(frozen=True, eq=False)
class Graph:
    """name: of the model. steps: each after those that give its inputs."""

    name: str
    image: Value
    steps: tuple[Step, ...]
    output: Value
    names: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """Return `name`, numbered where the graph has it already, and reserve it."""
        number, unused = 1, name
        while unused in self.names:
            number += 1
            unused = f"{name}_{number}"
        self.names.add(unused)
        return unused

    def producers(self) -> dict[Value, Step]:
        """Return the step that gives each tensor but the image."""
        return {value: step for step in self.steps for value in step.outputs}

    def readers(self) -> dict[Value, list[Step]]:
        """Return the steps that read each tensor."""
        readers: dict[Value, list[Step]] = {self.image: []}
        for step in self.steps:
            readers.update({value: [] for value in step.outputs})
            for value in dict.fromkeys(step.inputs):
                readers[value].append(step)
        return readers

    def calls(self) -> dict[Part, int]:
        """Return how many steps call each part."""
        counts: dict[Part, int] = {}
        for step in self.steps:
            counts[step.part] = counts.get(step.part, 0) + 1
        return counts

    def replaced(self, parts: dict[Part, Part]) -> Graph:
        """Return the graph with other parts in the same places."""
        return replace(
            self, steps=tuple(replace(step, part=parts.get(step.part, step.part)) for step in self.steps)
        )

    def expanded(self, expand: Callable[[Step], Iterable[Step] | None]) -> Graph:
        """Return the graph with each step replaced by those of `expand`; None leaves the step as it is."""
        steps: list[Step] = []
        for step in self.steps:
            new = expand(step)
            steps += [step] if new is None else new
        return replace(self, steps=tuple(steps))

    def without(self, removed: dict[Step, Value]) -> Graph:
        """Return the graph without the steps of `removed`, each with one output; its readers read the given tensor instead."""
        changed: dict[Value, Value] = {}
        steps = []
        for step in self.steps:
            if step in removed:
                target = removed[step]
                changed[step.outputs[0]] = changed.get(target, target)
            else:
                steps.append(step.reading(changed))
        return replace(self, steps=tuple(steps), output=changed.get(self.output, self.output))


def values_of(structure: Any) -> tuple[Value, ...]:
    """Return the tensors of a nested structure."""
    return tuple(leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Value))


def read(model: keras.Model, where: str) -> Graph:
    """Return the graph of a Functional or Sequential model, nested ones flattened.

    where: the name of the model in messages.
    Raises InputRefused, with the layer and the remedy, where the model has no such graph or is not float32.
    """
    check_model(model, where)
    reader = _Reader(where)
    tensor = model.inputs[0]
    image = Value(tuple(tensor.shape), str(tensor.dtype), tensor.name)
    reader.names.add(image.name)
    output = reader.through(model, image, "", {})
    return Graph(model.name, image, tuple(reader.steps), output, reader.names)


class _Reader:
    """The steps read so far."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.steps: list[Step] = []
        self.parts: dict[int, Part] = {}
        self.names: set[str] = set()

    def through(self, model: Any, inputs: Any, prefix: str, context: dict[str, Any]) -> Any:
        """Record the layers of a model; `inputs` and the returned outputs are values in the structure of a call."""

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            return self.call(operation, args, kwargs, prefix, context)

        if isinstance(model, keras.Sequential):
            value = inputs
            for layer in model.layers:
                value = call(layer, value)
            return value
        # Keras offers no public visit of the calls of a Functional model with their arguments. With `call_fn` this
        # method calls back once per call, in topological order, and passes whatever stands for the tensors.
        outputs = model._run_through_graph(inputs, call_fn=call)
        flat = keras.tree.flatten(outputs)
        return flat[0] if len(flat) == 1 else outputs

    def call(self, operation: Any, args: Any, kwargs: Any, prefix: str, context: dict[str, Any]) -> Any:
        """Record one call, and return its outputs as values."""
        name = f"{prefix}{operation.name}"
        if isinstance(operation, keras.Model):
            check_model(operation, f'{self.where}: the nested model "{name}"', nested=True)
            inner = {"training": kwargs["training"]} if kwargs.get("training") is not None else context
            return self.through(operation, args[0] if args else kwargs["inputs"], f"{name}_", inner)
        part = self.parts.get(id(operation))
        if part is None:
            part = self.parts[id(operation)] = self.part(operation, name)
        if context and getattr(operation, "_call_has_training_arg", False):
            kwargs = {**context, **kwargs}
        outputs = tuple(
            Value(tuple(tensor.shape), str(tensor.dtype), part.name)
            for tensor in keras.tree.flatten(operation.output)
        )
        self.steps.append(Step(part, tuple(args), dict(kwargs), outputs))
        return keras.tree.pack_sequence_as(operation.output, list(outputs))

    def part(self, operation: Any, name: str) -> Part:
        """Copy a layer or an operation."""
        check_layer(operation, name, self.where)
        try:
            config = dict(operation.get_config())
        except NotImplementedError as error:
            raise InputRefused(
                f'{self.where}: the layer "{name}" ({type(operation).__name__}) has no configuration to copy it by; '
                "give it get_config, or use a layer of Keras."
            ) from error
        config.pop("name", None)
        weights: tuple[np.ndarray, ...] = ()
        if isinstance(operation, keras.layers.Layer):
            weights = tuple(np.array(array) for array in operation.get_weights())
            if not all(np.isfinite(array).all() for array in weights if array.dtype.kind == "f"):
                raise InputRefused(
                    f'{self.where}: the layer "{name}" has weights that are NaN or infinite; train the model again '
                    "and save it with finite weights."
                )
        number, unused = 1, name
        while unused in self.names:
            number += 1
            unused = f"{name}_{number}"
        self.names.add(unused)
        return Part(unused, type(operation), config, weights, operation)


def to_model(graph: Graph) -> keras.Model:
    """Return the graph as a Functional model, with the weights of its parts."""
    image = keras.Input(batch_shape=graph.image.shape, dtype=graph.image.dtype, name=graph.image.name)
    tensors: dict[Value, Any] = {graph.image: image}
    made: dict[Part, Any] = {}

    def fill(leaf: Any) -> Any:
        return tensors[leaf] if isinstance(leaf, Value) else leaf

    for step in graph.steps:
        if step.part not in made:
            made[step.part] = _make(step.part)
        args, kwargs = keras.tree.map_structure(fill, (step.args, step.kwargs))
        outputs = keras.tree.flatten(made[step.part](*args, **kwargs))
        tensors.update(zip(step.outputs, outputs, strict=True))
    for part, layer in made.items():
        if part.weights:
            layer.set_weights(list(part.weights))
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes with copies of its weights
    return keras.Model(image, tensors[graph.output], name=graph.name)


def _make(part: Part) -> Any:
    if issubclass(part.kind, keras.layers.Layer):
        return part.kind.from_config({**part.config, "name": part.name})  # type: ignore[attr-defined]
    operation = part.kind.from_config(part.config)  # type: ignore[attr-defined]
    operation.name = part.name
    return operation
