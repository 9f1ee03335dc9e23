"""The settings that `safeml init` writes. Each limit states its source, or that it has none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from safeml.results import Accepted, Gate
from safeml.settings.model import InputSettings
from safeml.settings.targets import TargetSettings
from safeml.stages import STAGES
from safeml.stages.alarms import default_accepted
from safeml.stages.base import Stage

# The default gates of `safeml init`, from the rows of the stages that are part of every run.
EVERYWHERE = tuple(stage for stage in STAGES if stage.only_with is None)
GATES: tuple[Gate, ...] = tuple(gate for stage in EVERYWHERE for gate in stage.gates)


def accepted_of(stages: Sequence[Stage[Any]]) -> tuple[Accepted, ...]:
    """Return the accepted entries, without an owner, that `safeml init` writes for stages without default gates."""
    return tuple(entry for stage in stages for entry in default_accepted(stage, stage.settings()))


ACCEPTED = accepted_of(EVERYWHERE)
# A requirement is the user's to write.
REQUIREMENT_LINES = """# What the gates are there for: the page "Safety case" shows which requirement is met, and which gate serves none.
# [[requirements]]
# id = "SR-1"
# text = "..."
# owner = ""
# gates = ["clean-accuracy"]
"""


def data_kind(path: str) -> Literal["npz", "gtsrb", "folder"]:
    """Guess the kind of data from a path."""
    if path.endswith(".npz"):
        return "npz"
    return "gtsrb" if _is_gtsrb(Path(path)) else "folder"


def new_config(
    model: str,
    data: str,
    frames_per_sign: float | None,
    kind: str = "",
    contract: InputSettings | None = None,
    data_keys: Mapping[str, object] | None = None,
    train: str = "",
    valid: str = "",
    families: str = "",
    groups: str = "",
    costs: str = "",
    gates: Sequence[Gate] | None = None,
    accepted: Sequence[Accepted] | None = None,
    gradients: str = "",
    reference: str = "",
    targets: Sequence[TargetSettings] = (),
) -> str:
    """Return the text of a new `safeml.toml`: model, data, gates and accepted entries.

    kind: of the data, if their path does not show it.
    contract: result of `safeml inspect`.
    data_keys: further keys of [data.test], such as label_order.
    train, valid: paths of the training and validation data.
    families, costs: paths of the tables of the classes.
    groups: path of the table of the groups of the test images.
    gates, accepted: by default those of the stages.
    gradients: path of the Keras model that an exported file has its gradients from.
    reference: path of the model to compare with, which has the same input contract.
    targets: of a regression model.
    """
    quote = _quoted
    kind = kind or data_kind(data)
    frames = (
        f"frames_per_sign = {frames_per_sign:g}"
        if frames_per_sign is not None
        else "# frames_per_sign = 1   # needed if the data have no track ids; when unsure, the frames of the largest track; 1 declares independent images"
    )
    frames += "".join(
        f"\n{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in (data_keys or {}).items()
    )
    lines = [
        "# Paths are relative to the folder of this file. Adapt every limit below; the report shows it.",
        f"[model]\npath = {quote(model)}\n" + (f"gradients = {quote(gradients)}\n" if gradients else ""),
        "[model.input]           # the input contract; an incorrect value lowers accuracy without an error: use `safeml inspect`",
        _input_lines(contract or InputSettings()),
        *_tables_of_data({"families": families, "groups": groups}),
        f'[data.test]\nkind = "{kind}"\npath = {quote(data)}\nsplit = "test"\n{frames}\n',
        _split_lines("train", train, kind, data_keys),
        _split_lines("valid", valid, kind, data_keys),
        *map(_target_lines, targets),
        *([f"[hazard]\ncosts = {quote(costs)}\n"] if costs else []),
        '[run]\nseed = 7\nreports = "reports"\nresponsible = ""\n',
        '[stages.adversarial]\nimages = 1000\nfull_ensemble = ["linf_4"]   # all attacks run here; a gate may read only these\n',
        "# [stages.adversarial.surrogate]   # another model of these classes; without it, transfer attacks are not tested\n"
        '# path = "..."\n# input = {channels = "rgb", range = [0.0, 1.0]}\n',
        *([_reference_lines(reference, contract or InputSettings())] if reference else []),
    ]
    lines += [_gate_lines(gate) for gate in (GATES if gates is None else gates)]
    entries = ACCEPTED if accepted is None else accepted
    if entries:
        lines.append(
            "# Measured without a limit. An entry without an owner leaves the verdict not proven (exit code 3): name who accepts\n"
            "# it and why, or replace the entry by a gate."
        )
    lines += [_accepted_lines(entry) for entry in entries]
    lines.append(REQUIREMENT_LINES)
    return "\n".join(lines)


def _tables_of_data(files: Mapping[str, str]) -> list[str]:
    """Return the table [data] with the files that are given, or nothing."""
    lines = [f"{key} = {_quoted(path)}\n" for key, path in files.items() if path]
    return ["[data]\n" + "".join(lines)] if lines else []


def _split_lines(role: str, path: str, kind: str, keys: Mapping[str, object] | None) -> str:
    """Return the table of the training or validation data, as a comment if there are none."""
    if path:
        kind = data_kind(path)
        further = "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in (keys or {}).items()
        )
        split = 'split = "train"\n' if kind == "gtsrb" else ""
        return f'[data.{role}]\nkind = "{kind}"\npath = {_quoted(path)}\n{split}{further}'
    what = "training data; without them, leakage is not measured" if role == "train" else "validation data"
    return f'# [data.{role}]          # {what}\n# kind = "{kind}"\n# path = "..."\n'


def _target_lines(target: TargetSettings) -> str:
    tolerance = (
        "# tolerance = 1   # the largest error of a correct prediction"
        if target.tolerance is None
        else f"tolerance = {target.tolerance!r}"
    )
    low, high = target.range
    return f"[[data.targets]]\nname = {_quoted(target.name)}\nunit = {_quoted(target.unit)}\nrange = [{low!r}, {high!r}]\n{tolerance}\n"


def _gate_lines(gate: Gate) -> str:
    text = {key: _quoted(getattr(gate, key)) for key in ("id", "title", "stage", "metric", "slice", "op")}
    values = {**text, "threshold": f"{gate.threshold:g}", "rationale": _quoted(gate.rationale)}
    return "\n".join(["[[gates]]", *(f"{key} = {value}" for key, value in values.items())]) + "\n"


def _accepted_lines(entry: Accepted) -> str:
    values = {key: _quoted(getattr(entry, key)) for key in ("stage", "metric", "slice", "reason", "owner")}
    return "\n".join(["[[accepted]]", *(f"{key} = {value}" for key, value in values.items())]) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML string: JSON's escapes, except surrogate pairs, and DEL, which TOML requires escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _input_lines(contract: InputSettings) -> str:
    """Return the lines of [model.input]: channels, range, and all other values that are not the default."""
    low, high = contract.range
    lines = [
        f'channels = "{contract.channels}"        # rgb, bgr or grey',
        f"range = [{low}, {high}]      # its values for pixels 0 and 255",
    ]
    for name in ("height", "width", "mean", "std", "standardise", "outputs", "class_order", "chosen_on"):
        value = getattr(contract, name)
        if value != InputSettings.model_fields[name].default:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _reference_lines(path: str, contract: InputSettings) -> str:
    """Return the table of the reference of the comparison, with its input contract."""
    return (
        f"[stages.comparison]\n# largest_loss = 0.1   # an assumption of yours, with which fewer sign tracks prove a drop; see docs/int8-audit.md\n"
        f"[stages.comparison.reference]   # the float model that the INT8 file is compared with\npath = {_quoted(path)}\n"
        f"[stages.comparison.reference.input]\n{_input_lines(contract)}"
    )


def _is_gtsrb(path: Path) -> bool:
    names = ("Train.csv", "Test.csv", "GT-final_test.csv", "Final_Training", "Final_Test", "GTSRB")
    return any((path / name).exists() for name in names)
