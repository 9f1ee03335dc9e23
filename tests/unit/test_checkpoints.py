"""Which file of a folder of checkpoints is the model. The records are written by hand, as Keras's callbacks write them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from safeml.errors import InputRefused
from safeml.scan.checkpoints import choose

# val_accuracy of epochs 1-4: rounded to two places, 2, 3 and 4 tie; epoch 3 is the best.
VALUES = (0.7512, 0.98111, 0.98493, 0.98207)


def checkpoints(
    folder: Path, pattern: str = "{0:02d}-{1:.2f}.keras", epochs: tuple[int, ...] = (1, 2, 3, 4)
) -> Path:
    folder.mkdir(exist_ok=True)
    for epoch in epochs:
        (folder / pattern.format(epoch, VALUES[epoch - 1])).touch()
    return folder


def csv_log(path: Path, name: str = "val_accuracy", separator: str = ",", first: int = 0) -> None:
    rows = [["epoch", "accuracy", "loss", name]]
    rows += [[str(first + i), f"0.9{i}1", "0.5", repr(value)] for i, value in enumerate(VALUES)]
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n")


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    "pattern",
    [
        "{0:02d}-{1:.2f}.keras",
        "weights.{0:02d}-{1:.2f}.hdf5",
        "weights-improvement-{0:02d}-{1:.2f}.h5",
        "cp-{0:04d}.weights.h5",
        "resnet50_epoch{0:02d}_val_accuracy{1:.3f}.keras",
        "mobilenet_v2-e{0}-{1:.2e}.keras",
        "net_v1.0_{0}.keras",
    ],
)
def test_the_recorded_metric_decides_and_not_the_rounded_name(
    tmp_path: Path, pattern: str, separator: str
) -> None:
    folder = checkpoints(tmp_path / "ckpt", pattern)
    csv_log(folder / "log.csv", separator=separator)
    found = choose(folder)
    assert found.path == folder / pattern.format(3, VALUES[2])
    assert found.reason.startswith("epoch 3 of 4, val_accuracy 0.98493 as recorded in log.csv")


def test_the_reason_says_what_the_name_hides(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "training.log")
    assert choose(folder).reason == (
        "epoch 3 of 4, val_accuracy 0.98493 as recorded in training.log; the name rounds it to 0.98"
    )


def test_a_better_epoch_whose_file_is_gone_is_said(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt", epochs=(1, 2))
    (folder / "03.txt").touch()
    csv_log(folder / "log.csv")
    assert choose(folder).path.name == "02-0.98.keras"
    assert choose(folder).reason.endswith("; epoch 3 was better and has no file here")


def test_a_name_without_the_metric_beside_names_with_it_is_judged_by_the_record_alone(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt", epochs=(1, 2))
    (folder / "03.keras").touch()
    csv_log(folder / "log.csv")
    assert choose(folder).path.name == "03.keras"
    assert choose(folder).reason.endswith("as recorded in log.csv")


def test_csvlogger_counts_from_0_and_names_from_1(tmp_path: Path) -> None:
    """Read without that shift, the best row would name the file of the epoch before."""
    folder = checkpoints(tmp_path / "ckpt", "{0:02d}.keras", (2, 3))
    csv_log(folder / "log.csv")
    assert choose(folder).path.name == "03.keras"
    csv_log(folder / "log.csv", first=1)
    refused(folder, "log.csv: starts with epoch 1", "no file name holds a metric to tell")


def test_a_resumed_training_is_told_by_the_metric_in_the_names(tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    folder.mkdir()
    for epoch, value in zip((2, 3, 4, 5), VALUES, strict=True):
        (folder / f"{epoch}-{value:.2f}.keras").touch()
    csv_log(folder / "log.csv", first=1)
    assert choose(folder).path.name == "4-0.98.keras"


@pytest.mark.parametrize("as_list", [False, True])
def test_a_history_in_json_and_in_the_parent_folder_is_a_record(tmp_path: Path, as_list: bool) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    columns = {"val_accuracy": list(VALUES), "loss": [1, 2, 3, 4]}
    rows = [{"val_accuracy": value, "loss": 1} for value in VALUES]
    (tmp_path / "history.json").write_text(json.dumps(rows if as_list else columns))
    (folder / "model.json").write_text('{"class_name": "Sequential", "config": {}}')
    assert choose(folder).path.name == "03-0.98.keras"


def test_the_manifest_of_safeml_train_is_a_record(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "checkpoints")
    epochs = [{"epoch": i + 1, "val_accuracy": value, "file": "x"} for i, value in enumerate(VALUES)]
    (tmp_path / "training.json").write_text(json.dumps({"epochs": epochs, "chosen": {}}))
    assert choose(folder).path.name == "03-0.98.keras"


def test_loss_is_the_smaller_the_better_and_accuracy_goes_first(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    csv_log(folder / "log.csv", name="val_loss")
    assert choose(folder).path.name == "1.keras"
    (folder / "log.csv").write_text(
        "epoch,val_acc,val_loss\n" + "".join(f"{i},{v},{v}\n" for i, v in enumerate(VALUES))
    )
    assert choose(folder).path.name == "3.keras"


HISTORY = {
    "loss": [0.9, 0.5, 0.4, 0.3],
    "accuracy": [0.6, 0.7, 0.8, 0.9],
    "val_loss": [0.5] * 4,
    "val_accuracy": VALUES,
}


@pytest.mark.parametrize(
    "style", ["csv", "csv without index", "tsv", "columns", "records", "index", "split", "table"]
)
def test_a_history_that_pandas_wrote_is_a_record_of_its_rows(tmp_path: Path, style: str) -> None:
    frame = pd.DataFrame({name: list(values) for name, values in HISTORY.items()})
    folder = checkpoints(tmp_path / "ckpt")
    if style in ("csv", "tsv", "csv without index"):
        file = folder / ("history.tsv" if style == "tsv" else "history.csv")
        frame.to_csv(file, index=style != "csv without index", sep="\t" if style == "tsv" else ",")
    else:
        file = folder / "history.json"
        frame.to_json(file, orient=style)  # type: ignore[call-overload]
    found = choose(folder)
    assert found.path.name == "03-0.98.keras"
    assert f"epoch 3 of 4, val_accuracy 0.98493 as recorded in {file.name}" in found.reason


def test_a_column_of_epochs_beside_the_index_of_pandas_counts_the_epochs(tmp_path: Path) -> None:
    """The tutorial of TensorFlow: hist = DataFrame(history.history); hist["epoch"] = history.epoch."""
    folder = checkpoints(tmp_path / "ckpt")
    frame = pd.DataFrame({name: list(values) for name, values in HISTORY.items()})
    frame["epoch"] = range(4)
    frame.to_csv(folder / "history.csv")
    frame.drop(columns="epoch").to_json(folder / "history.json")  # the same history twice
    assert choose(folder).path.name == "03-0.98.keras"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (",loss,val_loss\n0,1,0.5\n2,1,0.6\n", "history.csv:3: is row 2 of the table, expected 1"),
        ("run,val_accuracy\na,0.5\nb,0.6\n", "no record of their metrics"),
        ("loss,val_loss\n1,0.5\n", "is of epoch 2 by its name"),
    ],
)
def test_a_table_that_is_no_whole_history_is_not_guessed(tmp_path: Path, text: str, part: str) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    (folder / "history.csv").write_text(text)
    refused(folder, part)


@pytest.mark.parametrize("separator", ["\t", "|"])
def test_other_separators_of_csvlogger(tmp_path: Path, separator: str) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "training.log", separator=separator)
    assert choose(folder).path.name == "03-0.98.keras"


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("val_f1_score", 3),
        ("val_auc_1", 3),
        ("val_top_k_categorical_accuracy", 3),
        ("val_mean_absolute_error", 1),
    ],
)
def test_the_only_other_metric_ranks_in_its_direction(tmp_path: Path, metric: str, best: int) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    csv_log(folder / "log.csv", name=metric)
    assert choose(folder).path.name == f"{best}.keras"
    assert metric in choose(folder).reason


def test_the_metric_in_the_file_names_is_the_monitored_one(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    rows = "".join(f"{i},{0.1 * i},0.2,{value}\n" for i, value in enumerate(VALUES))
    (folder / "log.csv").write_text(f"epoch,val_loss,val_auc,val_f1_score\n{rows}")
    assert choose(folder).path.name == "03-0.98.keras"
    for file in folder.glob("*.keras"):
        file.rename(folder / f"{file.name[:2]}.keras")
    assert choose(folder).path.name == "01.keras"  # no name holds a metric: val_loss goes first


@pytest.mark.parametrize("metrics", ["val_gain", "val_gain,val_bonus"])
def test_metrics_of_unknown_direction_are_named(tmp_path: Path, metrics: str) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    rows = "".join(f"{i}{',0.5' * len(metrics.split(','))}\n" for i in range(4))
    (folder / "log.csv").write_text(f"epoch,{metrics}\n{rows}")
    refused(
        folder,
        f"records the validation metrics {metrics.replace(',', ', ')}; whether higher or lower is better",
    )
    (folder / "log.csv").write_text("epoch,val_auc,val_f1\n" + "".join(f"{i},0.1,0.2\n" for i in range(4)))
    refused(folder, "records the validation metrics val_auc, val_f1; 2 of them can rank")


def test_of_equals_the_earliest(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    (folder / "log.csv").write_text("epoch,val_accuracy\n0,0.5\n1,0.9\n2,0.9\n3,0.9\n")
    assert choose(folder).path.name == "2.keras"


def test_one_file_alone_needs_no_record(tmp_path: Path) -> None:
    (tmp_path / "best_model.keras").touch()
    (tmp_path / "notes.txt").touch()
    found = choose(tmp_path)
    assert (found.path.name, found.reason) == ("best_model.keras", "the only model file in its folder")


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(InputRefused) as caught:
        choose(folder)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_no_record_is_no_choice(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    refused(
        folder,
        "ckpt: holds 4 checkpoints and no record of their metrics",
        "put the CSVLogger file or the history",
    )
    (folder / "train_history.pkl").touch()
    refused(
        folder,
        "no record of their metrics (train_history.pkl is not read; save history.history as JSON or CSV)",
    )
    refused(tmp_path, "holds no model file")


def test_training_metrics_are_no_record(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    (folder / "log.csv").write_text("epoch,accuracy,loss\n0,0.9,0.1\n1,0.9,0.1\n2,0.9,0.1\n3,0.9,0.1\n")
    refused(folder, "log.csv: records no validation metric (accuracy, loss only)")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("epoch,val_accuracy\n0,0.5\n1,0.6\n0,0.7\n1,0.8\n", "log.csv:4: records epoch 0 a second time"),
        ("epoch,val_accuracy\n0,0.5\nepoch,val_accuracy\n0,0.7\n", "log.csv:3: starts a second run"),
        ("epoch,val_accuracy\n0,0.5,1\n", "log.csv:2: has 3 cells"),
        ("epoch,val_accuracy\n-1,0.5\n", "log.csv:2: epoch is -1"),
        ("epoch,val_accuracy\n", "log.csv: records no epoch"),
        ("epoch,val_accuracy\n0,nan\n1,0.5\n2,0.5\n3,0.5\n", "records no finite val_accuracy"),
        ('epoch,val_accuracy\n0,"0.5\n', "is not valid CSV"),
        ("epoch,val_accuracy\n0,good\n", "records no validation metric"),
        ("epoch,val_accuracy\n0,0.75\n1,0.98\n", "is of epoch 3 by its name"),
    ],
)
def test_a_malformed_csv_record_is_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    (folder / "log.csv").write_text(text)
    refused(folder, part)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"val_accuracy": [0.1, 0.2], "loss": [1]}', "not lists of one length"),
        ('{"val_accuracy": 0.5}', "not lists of one length"),
        ('{"val_accuracy": [0.1, NaN]}', "NaN is not a number"),
        ('{"val_accuracy": [0.1, ', "is not valid JSON"),
        ('[{"epoch": 5, "val_accuracy": 1}]', "its entry 1 is of another epoch"),
    ],
)
def test_a_malformed_json_record_is_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    folder = checkpoints(tmp_path / "ckpt", "{0}.keras")
    (folder / "history.json").write_text(text)
    refused(folder, part)


def test_a_name_that_contradicts_the_record_is_refused_with_both_numbers(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "log.csv")
    (folder / "02-0.98.keras").rename(folder / "02-0.97.keras")
    refused(folder, "02-0.97.keras", "its name says 0.97", "val_accuracy 0.98111 for epoch 2")


def test_the_number_in_the_names_is_one_metric_throughout(tmp_path: Path) -> None:
    """0.75 of the first name is val_accuracy and 0.60 of the second is accuracy: no one pattern wrote both."""
    folder = tmp_path / "ckpt"
    folder.mkdir()
    (folder / "log.csv").write_text("epoch,accuracy,val_accuracy\n0,0.5,0.75\n1,0.6,0.85\n")
    for name in ("1-0.75.keras", "2-0.60.keras"):
        (folder / name).touch()
    refused(folder, "2-0.60.keras", "its name says 0.60")


def test_files_without_an_epoch_or_with_the_same_are_refused(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "log.csv")
    (folder / "best.keras").touch()
    refused(folder, "best.keras: no one epoch can be read from its name")
    (folder / "best.keras").rename(folder / "3.keras")
    refused(folder, "03-0.98.keras and 3.keras are both of epoch 3")


def test_two_records_are_one_too_many(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "a.csv")
    csv_log(folder / "b.csv", name="val_acc")
    refused(folder, "a.csv and b.csv both record metrics")


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    (tmp_path / "elsewhere").mkdir()
    csv_log(tmp_path / "elsewhere" / "log.csv")
    (folder / "log.csv").symlink_to(tmp_path / "elsewhere" / "log.csv")
    (folder / "05-0.99.keras").symlink_to(tmp_path / "elsewhere" / "log.csv")
    refused(folder, "holds 4 checkpoints and no record")


def test_other_tables_and_logs_are_not_records(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    csv_log(folder / "log.csv")
    (folder / "labels.csv").write_text("ClassId,SignName\n0,stop\n")
    (folder / "console.log").write_bytes(b"Epoch 1/4\n\xff\x00")
    (folder / "config.json").write_text("{broken")
    assert choose(folder).path.name == "03-0.98.keras"


@pytest.mark.slow
def test_reading_is_bounded(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "ckpt")
    with (folder / "log.csv").open("wb") as stream:
        stream.write(b"epoch,val_accuracy\n")
        stream.truncate(64 * 1024**2 + 1)
    refused(folder, "log.csv: is larger than 2,097,152 bytes")
    (folder / "log.csv").unlink()
    for number in range(10_001):
        (folder / f"{number}.txt").touch()
    refused(folder, "holds more than 10,000 files")
