"""Which checkpoint of a folder is the model: the best by the metric that training recorded at full precision.

`keras.callbacks.ModelCheckpoint` rounds the metric into the file's name ("{epoch:02d}-{val_accuracy:.2f}.keras"), so names tie
where models differ. A record of the epochs, in the folder or in its parent, decides (see `training_records`).
"""

from __future__ import annotations

import itertools
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from safeml.errors import InputRefused
from safeml.scan.training_records import ENDINGS, Record, read_record

MODELS = (".weights.h5", ".keras", ".h5", ".hdf5", ".onnx")
FILES = 10_000
TABLES = 100
# Of validation only: training metrics reward memorised images. The first that a record has is taken.
HIGHER = ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy", "val_categorical_accuracy")
METRICS = (*HIGHER, "val_loss")
# Other metrics whose better direction their name states, as "val_f1_score" or "val_auc_1".
UPWARDS = re.compile(
    r"acc|accuracy|auc|precision|recall|f1|f2|fbeta|dice|iou|kappa|mcc|map|sensitivity|specificity"
)
DOWNWARDS = re.compile(r"loss|error|err|mse|mae|rmse|mape|crossentropy|nll|brier|ece|divergence")
# Files in which programs keep a history, and which are not read.
UNREAD = (".pkl", ".pickle", ".npy", ".npz", ".joblib")
# A number in a file's name: "07" and "0.98" in "weights.07-0.98", "9.8e-01" in "model_3_9.8e-01".
NUMBER = re.compile(r"(?<!\d)(?<!\d\.)\d+(?:\.\d+(?:[eE][+-]?\d+)?)?")
NAMED_EPOCH = re.compile(r"(?<![a-z])(?:epoch|ep|e)[-_.= ]*(\d{1,7})(?!\d|\.\d)", re.IGNORECASE)
VERSION = re.compile(r"(?:^|[^a-z])v$", re.IGNORECASE)
REMEDY = "so give one file, or put the CSVLogger file or the history (CSV or JSON) beside them"


@dataclass(frozen=True)
class Checkpoint:
    """The chosen file, and one sentence for the report that says why it is this one."""

    path: Path
    reason: str


def choose(folder: Path) -> Checkpoint:
    """The best checkpoint in `folder` by validation accuracy, else by validation loss; of equals, the earliest.

    Raises InputRefused where the folder holds no model, no record says which is best, or names and record disagree.
    """
    names = _listed(folder)
    models = [path for path in names if path.name.endswith(MODELS)]
    if not models:
        raise InputRefused(
            f"{folder}: holds no model file; expected a .keras, .h5 or ONNX file, a SavedModel or checkpoints."
        )
    if len(models) == 1:
        return Checkpoint(models[0], "the only model file in its folder")
    record = _record(folder, names)
    if record is None:
        raise InputRefused(
            f"{folder}: holds {len(models)} checkpoints and no record of their metrics{_unread(names)}; file names round, "
            f"{REMEDY}."
        )
    metric = _metric(record, models)
    epochs = _assigned(folder, models, record, metric)
    written = _check_names(epochs, record, metric)
    if min(record.epochs) == 2 and not written:
        raise InputRefused(
            f"{record.path}: starts with epoch 1, which is the second one of CSVLogger or the first one of another record, "
            "and no file name holds a metric to tell; give one file."
        )
    sign = _direction(metric)
    recorded = {epoch: sign * row[metric] for epoch, row in record.epochs.items() if metric in row}
    best = max(epochs, key=lambda epoch: (recorded[epoch], -epoch))
    rounds = f"; the name rounds it to {written[best]}" if best in written else ""
    better = [epoch for epoch, value in recorded.items() if value > recorded[best]]
    gone = f"; epoch {better[0]} was better and has no file here" if better else ""
    return Checkpoint(
        epochs[best],
        f"epoch {best} of {max(record.epochs)}, {metric} {record.epochs[best][metric]:.10g} "
        f"as recorded in {record.path.name}{rounds}{gone}",
    )


def _metric(record: Record, models: list[Path]) -> str:
    """Return the metric to rank by: one that the file names hold, else validation accuracy, validation loss, or the only other.

    Raises InputRefused where the record has no validation metric, or none whose better direction is known.
    """
    validated = [name for name in record.metrics if name.startswith("val_")]
    others = [name for name in validated if name not in METRICS and _direction(name)]
    usual = [name for name in METRICS if name in validated]
    named = [name for name in validated if _in_names(name, record, models)]
    monitored = [name for name in named if name in others]
    if len(named) == 1 and monitored:
        return monitored[0]
    if usual:
        return usual[0]
    if len(others) == 1:
        return others[0]
    shown = ", ".join((validated or list(record.metrics))[:8])
    if not validated:
        also = f" ({shown} only)" if shown else ""
        raise InputRefused(
            f"{record.path}: records no validation metric{also}; expected val_accuracy or val_loss, {REMEDY}."
        )
    problem = (
        f"{len(others)} of them can rank checkpoints"
        if others
        else "whether higher or lower is better is not known"
    )
    raise InputRefused(
        f"{record.path}: records the validation metrics {shown}; {problem}. Expected val_accuracy, val_loss, or one other "
        f"accuracy, F1, AUC, recall, precision or error, {REMEDY}."
    )


def _direction(metric: str) -> int:
    """Return 1 if a higher value of `metric` is better, -1 if a lower one is, and 0 if its name states neither."""
    words = re.sub(r"_\d+$", "", metric.removeprefix("val_")).lower().split("_")
    up = any(UPWARDS.fullmatch(word) for word in words)
    down = any(DOWNWARDS.fullmatch(word) for word in words)
    return up - down


def _in_names(metric: str, record: Record, models: list[Path]) -> bool:
    """Return whether each file name holds `metric`, rounded, at one place."""
    places: set[int] | None = None
    for path in models:
        value = record.epochs.get(_epoch(_stem(path)) or 0, {}).get(metric)
        texts = _decimals(_stem(path))
        agreeing = {
            place for place, text in enumerate(texts) if value is not None and _rounds_to(value, text)
        }
        places = agreeing if places is None else places & agreeing
    return bool(places)


def _unread(names: list[Path]) -> str:
    """Return a clause on a file that may be a history and is not read, or ""."""
    words = ("hist", "log", "metric", "train")
    file = next(
        (
            path
            for path in names
            if path.suffix in UNREAD and any(word in path.name.lower() for word in words)
        ),
        None,
    )
    return "" if file is None else f" ({file.name} is not read; save history.history as JSON or CSV)"


def _assigned(folder: Path, models: list[Path], record: Record, metric: str) -> dict[int, Path]:
    """The checkpoint of each epoch, by the names of the files."""
    epochs: dict[int, Path] = {}
    for path in models:
        epoch = _epoch(_stem(path))
        if epoch is None:
            raise InputRefused(
                f"{path}: no one epoch can be read from its name, so no recorded metric is known to be its own; "
                'expected a name like "07-0.98.keras", or only one model file in the folder.'
            )
        if epoch in epochs:
            raise InputRefused(
                f"{folder}: {epochs[epoch].name} and {path.name} are both of epoch {epoch}; give one of them."
            )
        if epoch not in record.epochs:
            raise InputRefused(
                f"{path}: is of epoch {epoch} by its name; {record.path.name} records the epochs "
                f"{min(record.epochs)}-{max(record.epochs)}, counted from 1."
            )
        if metric not in record.epochs[epoch]:
            raise InputRefused(
                f"{path}: is of epoch {epoch} by its name, for which {record.path.name} records no finite {metric}; "
                "take the file out of the folder, or give one file."
            )
        epochs[epoch] = path
    return epochs


def _check_names(epochs: dict[int, Path], record: Record, metric: str) -> dict[int, str]:
    """The text of `metric` in the file names, by epoch. Each number in the names must be one metric, rounded, in all files."""
    written: dict[int, str] = {}
    meanings: dict[int, set[str]] = {}
    for epoch, path in sorted(epochs.items()):
        row = record.epochs[epoch]
        for place, text in enumerate(_decimals(_stem(path))):
            agreeing = {name for name, value in row.items() if _rounds_to(value, text)}
            meanings[place] = meanings.get(place, set(row)) & agreeing
            if not meanings[place]:
                raise InputRefused(
                    f"{path}: its name says {text}; {record.path.name} records {metric} {row[metric]:.10g} for epoch {epoch}, "
                    "so one of them is of another training."
                )
    for place, names in meanings.items():
        if metric in names:
            found = {epoch: _decimals(_stem(path))[place:] for epoch, path in epochs.items()}
            written = {epoch: texts[0] for epoch, texts in found.items() if texts}
            break
    return written


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(ending) for ending in MODELS if path.name.endswith(ending))


def _listed(folder: Path) -> list[Path]:
    """The regular files of the folder by name. Links are not followed."""
    try:
        found = list(itertools.islice(folder.iterdir(), FILES + 1))
        if len(found) > FILES:
            raise InputRefused(
                f"{folder}: holds more than {FILES:,} files; expected a folder of checkpoints."
            )
        files = sorted(path for path in found if stat.S_ISREG(path.lstat().st_mode))
    except OSError as error:
        raise InputRefused(
            f"{folder}: cannot be listed ({error.strerror}); expected a readable folder."
        ) from error
    return files


def _epoch(stem: str) -> int | None:
    """The epoch in a file's name: the number after "epoch", "ep" or "e", else the only whole number that stands by itself."""
    named = NAMED_EPOCH.search(stem)
    if named:
        return int(named.group(1))
    whole = [
        match.group()
        for match in NUMBER.finditer(stem)
        if match.group().isascii()
        and match.group().isdigit()
        and len(match.group()) <= 7
        # "resnet50" and "2x" name no epoch
        and not stem[: match.start()][-1:].isalpha()
        and not stem[match.end() :][:1].isalpha()
    ]
    return int(whole[0]) if len(whole) == 1 else None


def _decimals(stem: str) -> list[str]:
    """The numbers with a decimal point in a file's name, as text; "v1.0" is a version."""
    return [
        match.group()
        for match in NUMBER.finditer(stem)
        if "." in match.group() and not VERSION.search(stem[: match.start()])
    ]


def _rounds_to(value: float, text: str) -> bool:
    """Whether `value`, written with as many decimals as `text`, is `text`."""
    digits = re.split("[eE]", text)[0].partition(".")[2]
    style = "e" if "e" in text.lower() else "f"
    return format(value, f".{len(digits)}{style}") == text.lower()


def _record(folder: Path, names: list[Path]) -> Record | None:
    """The record of the training in the folder, else in its parent; None where there is none. Raises where there are two."""
    for files in (names, _listed(folder.absolute().parent)):
        tables = [path for path in files if path.suffix in ENDINGS]
        if len(tables) > TABLES:
            raise InputRefused(
                f"{tables[0].parent}: holds {len(tables)} files that may record metrics; at most {TABLES} are read, {REMEDY}."
            )
        found = [record for path in tables if (record := read_record(path)) is not None]
        if len(found) > 1 and not all(found[0].agrees(other) for other in found[1:]):
            raise InputRefused(
                f"{folder}: {found[0].path.name} and {found[1].path.name} both record metrics; leave the one of these checkpoints."
            )
        if found:
            return found[0]
    return None
