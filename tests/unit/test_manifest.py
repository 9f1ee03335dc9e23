"""`training.json` as it may be found: damaged, of an older version, of a newer one, or very long."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeml.audits.training.manifest import parse_manifest
from safeml.errors import InputRefused
from safeml.report.charts import draw_curve
from safeml.results import Curve
from tests.records import table
from tests.unit.test_audit_training import audit, manifest, with_inflation
from tests.unit.test_audit_training_course import BACKBONE, PHASES

MODELS = Path(__file__).parents[2] / "models"
HUGE = 10**400
NUMBERS: list[Any] = [float("nan"), float("inf"), HUGE, -HUGE, "7", True, [1], None]


def whole() -> dict[str, Any]:
    """A manifest in which every field is written."""
    values = copy.deepcopy(with_inflation(0.95) | {"phases": PHASES})
    values["valid"]["signs"] = 40
    values["recipe"] |= {
        "backbone": BACKBONE | {"fine_tune_rate": 0.1},
        "data": {"valid_fraction": 0.1, "split": "track"},
        "augment": {"shift": 0.1},
        "epochs": 3,
        "early_stopping": 0,
        "learning_rate": 0.001,
    }
    return values


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    values = whole()
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return values


def dotted(path: tuple[Any, ...]) -> str:
    """("phases", 1, "end") -> phases[1].end"""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("epochs",), [], "epochs is empty"),
        (("epochs", 1, "val_accuracy"), float("nan"), r"epochs\[1\]\.val_accuracy is not a finite number"),
        (("epochs", 1, "val_accuracy"), 1.5, "expected a proportion"),
        (("epochs", 1, "val_loss"), "0.1", "not a finite number"),
        (("epochs", 1, "epoch"), 7, "not numbered"),
        (("epochs", 1), 3, r"epochs\[1\] is of type int"),
        (("chosen", "epoch"), 9, "expected 1-3"),
        (("chosen", "monitor"), "accuracy", "chosen.monitor"),
        (("model_fingerprint",), None, "model_fingerprint is missing"),
        (("valid", "images"), 0, "valid.images is 0"),
        (("train",), [], "train is of type list"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_place(path: tuple[Any, ...], value: Any, word: str) -> None:
    with pytest.raises(InputRefused, match=word):
        audit(changed(path, value))


OPTIONAL = {
    ("valid", "signs"),
    ("recipe", "data", "valid_fraction"),
    ("phases", 1, "learning_rate"),
}  # null: not known, not given


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("epochs", 1, "loss"), []),
        (("epochs", 1, "accuracy"), [-0.1, 1.1]),
        (("chosen", "value"), []),
        (("train", "images"), [-1, 0, 10**10]),
        (("valid", "signs"), [-1, 0, 401, 2.5]),
        (("inflation", "images"), [-1, 0, 398, 2.5]),
        (("inflation", "images_of_shared_signs"), [-1, 401, 2.5]),
        (("inflation", "val_accuracy"), [-0.1, 1.1]),
        (("inflation", "epochs"), [-1, 0, 2.5]),
        (("phases", 1, "first"), [-1, 0, 1, 2.0]),
        (("phases", 1, "last"), [-1, 0, 2.5]),
        (("phases", 1, "learning_rate"), [-1, 0, 1.5]),
        (("recipe", "augment", "shift"), [-0.1, 0.6]),
        (("recipe", "backbone", "fine_tune_rate"), [-0.1, 0, 2]),
        (("recipe", "data", "valid_fraction"), [-0.1, 0, 1]),
        (("recipe", "early_stopping"), [-1, 2000, 2.5]),
        (("recipe", "epochs"), [-1, 0, 2.5]),
        (("recipe", "learning_rate"), [-0.1, 0, 2]),
    ],
)
def test_a_number_that_is_none_is_refused_with_its_place(path: tuple[Any, ...], wrong: list[Any]) -> None:
    for value in [*NUMBERS, *wrong]:
        if value is None and path in OPTIONAL:
            continue
        with pytest.raises(InputRefused) as refused:
            audit(changed(path, value))
        message = str(refused.value)
        # A share of images that is greater than the images is said of either of the two.
        assert message.startswith(f"training.json: {dotted(path)}") or "images_of_shared_signs" in message
        assert len(message) < 250
        assert message.count("\n") == 0
        assert "Traceback" not in message


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("inflation",), [], "inflation is of type list; expected dict"),
        (("inflation", "split"), "track", "inflation.split is not"),
        (("inflation", "split"), 3, "inflation.split is of type int"),
        (("phases",), {}, "phases is of type dict; expected list"),
        (("phases", 0), 3, r"phases\[0\] is of type int"),
        (("phases", 0, "note"), 3, r"phases\[0\].note is of type int"),
        (("phases", 0, "note"), None, r"phases\[0\].note is missing"),
        (("phases",), [{"first": 1, "last": 3, "note": ""}] * 101, "expected at most 100"),
        (("recipe",), [], "recipe is of type list"),
        (("recipe", "name"), 7, "recipe.name is 7; expected text"),
        (("recipe", "balance"), "weights", "recipe.balance is .weights."),
        (("recipe", "monitor"), "loss", "recipe.monitor is .loss."),
        (("recipe", "augment"), [], "recipe.augment is a list of 0; expected a table"),
        (("recipe", "backbone", "freeze"), 7, "recipe.backbone.freeze is 7"),
        (("recipe", "backbone", "source"), "", "recipe.backbone.source"),
        (("recipe", "data", "split"), "frame", "recipe.data.split is"),
    ],
)
def test_a_new_field_of_another_kind_is_refused(path: tuple[Any, ...], value: Any, word: str) -> None:
    with pytest.raises(InputRefused, match=word):
        audit(changed(path, value))


def test_fields_of_tomorrow_are_passed_over() -> None:
    values = whole()
    expected = parse_manifest(values)
    values["tomorrow"] = {"x": [1, float("nan")]}
    values["epochs"][0] |= {"precision": 0.5, "learning_rate": "low"}
    for place in (values["inflation"], values["phases"][0], values["valid"], values["recipe"]["backbone"]):
        place["tomorrow"] = [None]
    assert parse_manifest(values) == expected


def test_what_older_versions_wrote_is_read() -> None:
    values = manifest()
    for role in ("train", "valid"):
        del values[role]["signs"]
    values["recipe"] = {}
    made = parse_manifest(values)
    assert (made.recipe, made.settings, made.inflation, made.phases, made.valid.signs) == (
        "",
        {},
        None,
        (),
        None,
    )
    assert parse_manifest(values | {"inflation": None, "phases": None}) == made


@pytest.mark.parametrize("name", ["lenet-gtsrb", "resnet-gtsrb"])
def test_the_manifests_of_the_reference_models_are_read(name: str) -> None:
    values = json.loads((MODELS / name / "training.json").read_text(encoding="utf-8"))
    made = parse_manifest(values)
    assert (made.recipe, made.valid.images, made.valid.signs) == (name, 4740, 158)
    assert made.settings["learning_rate"] == values["recipe"]["learning_rate"]
    assert "balance" not in made.settings or "balance" in values["recipe"]
    assert made.best is made.chosen


def test_a_phase_that_was_never_reached() -> None:
    values = whole()
    values["phases"] = [{"first": 1, "last": 5, "note": "a"}, {"first": 6, "last": 9, "note": "b"}]
    assert [row[1] for row in table(audit(values), "phases").rows] == ["epochs 1-3", "not reached"]


def test_learning_rates_of_the_phases_are_shown_where_they_are_recorded() -> None:
    values = whole()
    for phase, rate in zip(values["phases"], (0.002, 0.0002), strict=True):
        phase["learning_rate"] = rate
    assert [row[2] for row in table(audit(values), "phases").rows] == [0.002, 0.0002]
    del values["phases"][0]["learning_rate"]
    assert [row[2] for row in table(audit(values), "phases").rows] == [phase["note"] for phase in PHASES]


def test_what_all_phases_share_is_said_once_and_fingerprints_are_short() -> None:
    fingerprint = "f505f6d18f08" + "0" * 52
    about = f'backbone: x.keras, fingerprint {fingerprint}; freeze = "auto": 500 images a class'
    values = whole()
    for phase, note in zip(values["phases"], ("the head is trained", "all is trained"), strict=True):
        phase["note"] = f"{about}; {note}"
    phases = table(audit(values), "phases")
    assert [row[-1] for row in phases.rows] == ["the head is trained", "all is trained"]
    assert phases.caption.endswith(
        'In all phases, backbone: x.keras, fingerprint f505f6d18f08; freeze = "auto": 500 images a class.'
    )
    # The same note twice still leaves a word in each row, and a single phase shares nothing with another.
    values["phases"][0]["note"] = values["phases"][1]["note"]
    assert [row[-1] for row in table(audit(values), "phases").rows] == ["all is trained"] * 2
    del values["phases"][1]
    phases = table(audit(values), "phases")
    assert phases.rows[0][-1] == f"{about.replace(fingerprint, 'f505f6d18f08')}; all is trained"
    assert "In all phases" not in phases.caption


def test_a_long_note_is_kept_and_a_very_long_one_is_visibly_cut() -> None:
    values = whole()
    values["phases"][0]["note"], values["phases"][1]["note"] = "a" * 1000, "b" * 1001
    first, second = parse_manifest(values).phases
    assert first.note == "a" * 1000
    assert second.note == "b" * 999 + "…"


@pytest.mark.slow
def test_the_phases_that_training_writes_are_those_that_are_read() -> None:
    from safeml.training.phases import Phase, recorded

    def prepare(model: Any) -> None:
        """Nothing is trained here."""

    values = whole()
    values["phases"] = recorded((Phase(0, 1, 0.002, prepare, "head"), Phase(1, 3, 0.0002, prepare, "all")))
    assert table(audit(values), "phases").rows == [
        [1, "epoch 1", 0.002, "head"],
        [2, "epochs 2-3", 0.0002, "all"],
    ]


def test_ten_thousand_epochs_are_thinned_and_keep_their_jumps() -> None:
    accuracies = np.linspace(0.1, 0.9, 10_000)
    accuracies[[1234, 7000]] = 0.0, 1.0
    values = manifest(tuple(accuracies.tolist()), chosen=7001)
    started = time.process_time()
    result = audit(values)
    curves = [figure for figure in result.figures if isinstance(figure, Curve)]
    drawings = [draw_curve(curve, 760) for curve in curves]
    assert time.process_time() - started < 1
    for curve in curves:
        assert len(curve.series[0].x) <= 310
        assert {1.0, 1235.0, 7001.0, 10_000.0} <= set(curve.series[0].x)
        assert any("of 10,000 epochs" in line for line in curve.reading)
    rows = table(result, "epochs")
    assert len(rows.rows) <= 110
    assert "of 10,000 epochs" in rows.caption
    assert {1, 1235, 7001, 10_000} <= {row[0] for row in rows.rows}
    assert len(result.model_dump_json()) < 100_000
    assert sum(map(len, drawings)) < 60_000


def test_a_hundred_epochs_are_all_shown() -> None:
    values = manifest(tuple(np.linspace(0.1, 0.9, 100).tolist()), chosen=100)
    assert len(table(audit(values), "epochs").rows) == 100
    assert "Shown are" not in table(audit(values), "epochs").caption


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(values: Any) -> list[tuple[Any, ...]]:
    """Every place in the manifest that holds something."""
    inside = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    return [(key, *rest) for key, value in inside for rest in [(), *paths(value)]]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(paths(whole())), value=JSON)
def test_anything_in_any_place_is_reported_on_or_refused_in_one_sentence(
    path: tuple[Any, ...], value: Any
) -> None:
    try:
        assert audit(changed(path, value)).status == "ok"
    except InputRefused as refused:
        message = str(refused)
        assert message.startswith("training.json: ")
        assert message.endswith(".")
        assert len(message) < 300
