"""The teacher of a distilled model, beside the model, on the validation images."""

from __future__ import annotations

from safeml.audits.training.manifest import Distilled
from safeml.results import Column, Fact, Table
from safeml.wording import counted, number, percent


def distillation_meaning(measured: Distilled) -> list[str]:
    """Return in words what the student lost against its teacher."""
    teacher, student, (name, before, after) = measured.teacher, measured.student, measured.fall
    return [
        f"The model has learnt from a teacher of {percent(teacher.val_accuracy)} validation accuracy; its own is "
        f"{percent(student.val_accuracy)}. Both decide alike on {percent(measured.agreement)} of the images: "
        f"{number(measured.lost)} are classified correctly by the teacher alone, {number(measured.gained)} by the model alone.",
        f"The lowest recall of a class is {percent(student.worst_recall)} ({student.worst_class}); that of the teacher is "
        f"{percent(teacher.worst_recall)} ({teacher.worst_class}). Against the teacher, {name} loses most: {percent(before)} to "
        f"{percent(after)}.",
    ]


def distillation_table(measured: Distilled) -> Table:
    """Return the table of teacher and student."""
    rows = (("teacher", measured.teacher), ("this model", measured.student))
    return Table(
        id="distillation",
        title="Teacher and student",
        columns=[
            Column(key="model", label="Model"),
            Column(key="file", label="File", kind="id"),
            Column(key="parameters", label="Parameters", kind="number"),
            Column(key="accuracy", label="Validation accuracy", kind="percent"),
            Column(key="class", label="Worst class"),
            Column(key="recall", label="Its recall", kind="percent"),
            Column(key="images", label="Its images", kind="number"),
        ],
        rows=[
            [
                role,
                model.name,
                model.parameters,
                model.val_accuracy,
                model.worst_class,
                model.worst_recall,
                model.worst_images,
            ]
            for role, model in rows
        ],
        caption=f"{counted(measured.images, 'validation image')}, on which the epoch was selected. The training loss includes the "
        "teacher; validation accuracy and loss are those of the labels.",
    )


def distillation_untested() -> Fact:
    """Return the fact that the same model was not trained without its teacher."""
    return Fact(
        label="Gain by the teacher",
        value="not measured",
        detail="the same recipe without [distill] measures it",
    )
