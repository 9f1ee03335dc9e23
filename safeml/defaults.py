"""The settings that `safeml init` writes. The limits are the design's; each says where it comes from, or that nothing does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from safeml.config import InputSettings

NO_AUTHORITY = "No standard sets this limit; it is a starting point for you to own."

# id, title, stage, metric, slice, op, threshold, rationale
GATES = (
    (
        "clean-accuracy",
        "Accuracy on clean images",
        "performance",
        "clean_accuracy",
        "all",
        ">=",
        0.95,
        "Below the published accuracy of small networks on GTSRB (0.97 to 0.98). " + NO_AUTHORITY,
    ),
    (
        "worst-family-recall",
        "Recall of the weakest sign family",
        "performance",
        "recall_worst_family",
        "all",
        ">=",
        0.90,
        "An average hides a family that the model cannot read. " + NO_AUTHORITY,
    ),
    (
        "hazard-weighted-error",
        "Hazard-weighted error",
        "performance",
        "hazard_weighted_error",
        "all",
        "<=",
        0.02,
        "A stop sign read as priority road is not one error among others. " + NO_AUTHORITY,
    ),
    (
        "shared-duplicates",
        "Test images that also stand in training",
        "balance",
        "shared_duplicates",
        "split:train",
        "==",
        0,
        "A shared image measures memory, not recognition: none is allowed.",
    ),
    (
        "shared-tracks",
        "Signs that stand in training and test",
        "balance",
        "shared_tracks",
        "split:train",
        "==",
        0,
        "Frames of one sign on both sides measure memory: none is allowed. Remove this gate where tracks are not published.",
    ),
    (
        "robust-linf-4",
        "Accuracy under the worst attack, L-inf 4/255",
        "adversarial",
        "robust_accuracy.linf_4",
        "all",
        ">=",
        0.60,
        "The customary threat of small images. " + NO_AUTHORITY,
    ),
    (
        "gradient-masking",
        "Signs of gradient masking",
        "adversarial",
        "masking_flags",
        "all",
        "==",
        0,
        "A model that hides its gradient looks robust and is not (Carlini et al., 2019).",
    ),
)


def data_kind(path: str) -> Literal["npz", "gtsrb", "folder"]:
    """What kind of data a path seems to name."""
    if path.endswith(".npz"):
        return "npz"
    return "gtsrb" if _is_gtsrb(Path(path)) else "folder"


def new_config(
    model: str,
    data: str,
    frames_per_sign: float | None,
    kind: str = "",
    contract: InputSettings | None = None,
) -> str:
    """The text of a new `safeml.toml`: the model, the test data, and the default gates written out.

    kind: of the data, where their path as written does not show it from here. contract: what `safeml inspect` found.
    """
    quote = _quoted
    kind = kind or data_kind(data)
    frames = (
        f"frames_per_sign = {frames_per_sign:g}"
        if frames_per_sign is not None
        else "# frames_per_sign = 1   # needed where the data have no track ids; 1 declares that images are independent"
    )
    lines = [
        "# Relative paths start at this file's folder. Every limit below is yours to change; the report shows it.",
        f"[model]\npath = {quote(model)}\n",
        "[model.input]           # what the model wants; a wrong value loses accuracy without an error, and `safeml inspect` measures it",
        _input_lines(contract or InputSettings()),
        f'[data.test]\nkind = "{kind}"\npath = {quote(data)}\nsplit = "test"\n{frames}\n',
        "# [data.train]          # what it was trained on: without it, leakage is not measured and its gates are missing",
        f'# kind = "{kind}"\n# path = "..."\n# split = "train"\n',
        '[run]\nseed = 7\nreports = "reports"\nresponsible = ""\n',
        '[stages.adversarial]\nimages = 1000\nfull_ensemble = ["linf_4"]   # where all attacks are run: what a gate reads\n',
        "# [stages.adversarial.surrogate]   # another model of these classes: without it, transfer attacks are not tested\n"
        '# path = "..."\n# input = {channels = "rgb", range = [0.0, 1.0]}\n',
    ]
    for gate_id, title, stage, metric, slice_, op, threshold, rationale in GATES:
        lines.append(
            f"[[gates]]\nid = {quote(gate_id)}\ntitle = {quote(title)}\nstage = {quote(stage)}\nmetric = {quote(metric)}\n"
            f"slice = {quote(slice_)}\nop = {quote(op)}\nthreshold = {threshold}\nrationale = {quote(rationale)}\n"
        )
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's, but for surrogate pairs, and DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _input_lines(contract: InputSettings) -> str:
    """The keys of [model.input]: always the channels and the range, and whatever else is not its default."""
    low, high = contract.range
    lines = [
        f'channels = "{contract.channels}"        # rgb, bgr or grey',
        f"range = [{low}, {high}]      # its values for pixels 0 and 255",
    ]
    for name in ("height", "width", "mean", "std", "standardise", "class_order", "chosen_on"):
        value = getattr(contract, name)
        if value != InputSettings.model_fields[name].default:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _is_gtsrb(path: Path) -> bool:
    names = ("Train.csv", "Test.csv", "GT-final_test.csv", "Final_Training", "Final_Test", "GTSRB")
    return any((path / name).exists() for name in names)
