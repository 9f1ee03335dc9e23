"""The part of the record of `safeml quantize` on pruning: checked, and in tables.

It comes with the model, so no entry of it is trusted to have its form.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from safeml.results import Column, Finding, Proportion, Scalar, Table
from safeml.wording import counted, number, percent

MOST = 10_000
Name = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0, le=10**12)]
TITLES = {
    "float": "float, before pruning",
    "pruned": "float, pruned",
    "int8": "INT8, pruned",
}
# A class whose recall falls by more is named as a warning.
RECALL_LOST = 0.05


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class PrunedLayer(_Part):
    """A layer with a kernel. reason: why it is not pruned; "" if it is. violations: groups of four without two zeros."""

    name: Name
    kind: Name = ""
    weights: Count = 0
    zeros: Count = 0
    violations: Count = 0
    int8_zeros: Count | None = None
    int8_violations: Count | None = None
    reason: Annotated[str, Field(max_length=2000)] = ""


class WorstClass(_Part):
    """The class of the lowest recall, on its validation images."""

    name: Name
    recall: Proportion
    images: Count


class RecallFall(_Part):
    """The class whose recall falls most against the float model before pruning, on its validation images."""

    name: Name
    before: Proportion
    after: Proportion
    images: Count


class PrunedModel(_Part):
    """A model on the validation images. lost, gained: images that only the first model, or only this one, classifies correctly."""

    val_accuracy: Proportion
    worst_class: WorstClass
    lost: Count | None = None
    gained: Count | None = None
    largest_fall: RecallFall | None = None


class Pruned(_Part):
    """The record of a pruning. models: by name: float, pruned, int8."""

    kind: Name
    sparsity: Proportion
    layers: list[PrunedLayer] = Field(max_length=MOST)
    models: dict[Name, PrunedModel]

    @property
    def pruned(self) -> list[PrunedLayer]:
        """The layers that are pruned."""
        return [row for row in self.layers if not row.reason]

    @property
    def share(self) -> float:
        """The share of zeros in all kernels of the record, 0..1."""
        weights = sum(row.weights for row in self.layers)
        return sum(row.zeros for row in self.layers) / weights if weights else 0.0


def pruning_sentences(record: Pruned) -> list[str]:
    """Return what the pruning changed on the validation images, in words."""
    words = [
        f"{counted(len(record.pruned), 'layer')} of {len(record.layers)} with a kernel are pruned ({record.kind}); {percent(record.share)} "
        "of all weights of kernels are 0."
    ]
    after = record.models.get("int8")
    if after is not None and after.lost is not None and after.largest_fall is not None:
        fall = after.largest_fall
        words.append(
            f"Against the float model before pruning, the pruned INT8 model loses {counted(after.lost, 'validation image')} and gains "
            f"{number(after.gained or 0)}. The recall of {fall.name} changes most for the worse: from {percent(fall.before)} to "
            f"{percent(fall.after)} of {counted(fall.images, 'image')}."
        )
    words.append(
        "A comparison with finetuned.keras, which is pruned too, leaves out what pruning lost; a comparison with float.keras includes it."
    )
    return words


def pruning_findings(record: Pruned) -> list[Finding]:
    """Return a broken pattern, a class that pruning hurts, and the layers that are not pruned."""
    findings = []
    broken = [row for row in record.pruned if row.violations or row.int8_violations]
    if record.kind == "2:4" and broken:
        findings.append(
            Finding(
                code="pattern-broken",
                severity="serious",
                message=f"{counted(len(broken), 'pruned layer')} ({', '.join(row.name for row in broken[:5])}) "
                "without two zeros in each four input channels.",
                remedy="Quantize again with `safeml quantize --force`; TensorRT runs these layers with dense kernels.",
                evidence={"layers": len(broken)},
            )
        )
    after = record.models.get("int8")
    fall = after.largest_fall if after is not None else None
    if fall is not None and fall.before - fall.after > RECALL_LOST:
        findings.append(
            Finding(
                code="pruning-lowers-a-class",
                severity="warning",
                message=f"The recall of {fall.name} falls from {percent(fall.before)} to {percent(fall.after)} by pruning and quantization, "
                f"on {counted(fall.images, 'validation image')}.",
                remedy="Prune less, or for more epochs, or list layers in prune.keep_dense.",
                evidence={"recall": fall.after, "before": fall.before, "images": fall.images},
            )
        )
    dense = [row for row in record.layers if row.reason]
    if dense:
        findings.append(
            Finding(
                code="layers-not-pruned",
                severity="info",
                message=f"{counted(len(dense), 'layer')} not pruned: "
                + "; ".join(f"{row.name} ({row.reason})" for row in dense[:5])
                + ("." if len(dense) <= 5 else "; and others."),
                evidence={"layers": len(dense), "of": len(record.layers)},
            )
        )
    return findings


def pruning_tables(record: Pruned, images: int) -> list[Table]:
    """Return the models before and after pruning, and the zeros by layer. images: number of validation images."""
    models: list[list[Scalar]] = [
        [
            TITLES[name],
            row.val_accuracy,
            row.worst_class.name,
            row.worst_class.recall,
            row.worst_class.images,
            row.lost,
            row.gained,
            row.largest_fall.name if row.largest_fall else None,
            row.largest_fall.before if row.largest_fall else None,
            row.largest_fall.after if row.largest_fall else None,
        ]
        for name, row in ((name, record.models.get(name)) for name in TITLES)
        if row is not None
    ]
    layers: list[list[Scalar]] = [
        [
            row.name,
            row.kind,
            row.weights or None,
            row.zeros / row.weights if row.weights else None,
            row.int8_zeros / row.weights if row.int8_zeros is not None and row.weights else None,
            row.violations if record.kind == "2:4" and not row.reason else None,
            row.int8_violations if record.kind == "2:4" and not row.reason else None,
            row.reason,
        ]
        for row in record.layers
    ]
    return [
        Table(
            id="pruning-models",
            title="What pruning changed",
            columns=[
                Column(key="model", label="Model"),
                Column(key="accuracy", label="Accuracy", kind="percent"),
                Column(key="class", label="Worst class"),
                Column(key="recall", label="Its recall", kind="percent"),
                Column(key="images", label="Its images", kind="number"),
                Column(key="lost", label="Images lost", kind="number"),
                Column(key="gained", label="Images gained", kind="number"),
                Column(key="fall", label="Largest fall of recall"),
                Column(key="before", label="Before", kind="percent"),
                Column(key="after", label="After", kind="percent"),
            ],
            rows=models,
            caption=f"{counted(images, 'validation image')}, which chose the models. Lost: only the float model before pruning classifies "
            "the image correctly. Gained: only the model of the row does.",
        ),
        Table(
            id="pruning-layers",
            title="Zeros by layer",
            columns=[
                Column(key="layer", label="Layer", kind="id"),
                Column(key="kind", label="Kind"),
                Column(key="weights", label="Weights", kind="number"),
                Column(key="zeros", label="Zeros", kind="percent"),
                Column(key="int8", label="Zeros in INT8", kind="percent"),
                Column(key="violations", label="Groups without two zeros", kind="number"),
                Column(key="int8_violations", label="The same in INT8", kind="number"),
                Column(key="reason", label="Why not pruned"),
            ],
            rows=layers,
            caption="A group is four consecutive input channels of one output channel at one position of the kernel. INT8 has more zeros: "
            "small weights round to the code 0.",
            fold=len(layers) > 15,
        ),
    ]
