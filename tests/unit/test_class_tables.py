"""Families and costs of a user's classes: read whole, refused where they leave a class or a cost open, used by the audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.performance.run import run
from safeml.cli.listing import LISTS, Kind
from safeml.data.class_tables import read_costs, read_families
from safeml.data.place import Place
from safeml.data.signs import CLASS_NAMES, FAMILIES
from safeml.errors import ConfigError, InputRefused
from safeml.metrics.hazard import cost_matrix
from safeml.settings.data import DataRoles, DataSettings
from safeml.settings.hazard import HazardSettings
from safeml.stages.performance import PerformanceSettings
from tests.fakes import Answers, dataset, numbered_images
from tests.records import metric

NAMES = ("cat", "dog", "car")


def table(folder: Path, *lines: str) -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_families_in_class_order_with_rows_of_other_classes(tmp_path: Path) -> None:
    file = table(tmp_path, "class,family", "car,vehicle", "dog,animal", "bus,vehicle", "cat,animal")
    assert read_families(file, NAMES) == ("animal", "animal", "vehicle")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["class,family", "cat,animal", "dgo,animal", "car,vehicle"],
            r'first dog \(did you mean "dgo"\?\)|first dog',
        ),
        (
            ["class,family", "cat,animal", "cat,pet", "dog,animal", "car,vehicle"],
            "the class cat occurs twice",
        ),
        (["class,family", "cat,", "dog,animal", "car,vehicle"], "the class cat has no family"),
        (["name,family", "cat,animal"], "no column class"),
    ],
)
def test_families_that_leave_a_class_open_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        read_families(table(tmp_path, *lines), NAMES)


def test_a_pair_without_a_row_costs_the_most(tmp_path: Path) -> None:
    file = table(
        tmp_path, "true,predicted,cost,reason", "cat,dog,0.25,both are animals", "dog,cat,0,", "cat,cat,0,"
    )
    assert read_costs(file, NAMES).tolist() == [[0, 0.25, 1], [0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat,dgo,0.5", r'predicted is "dgo", which is no class'),
        ("cat,dog,1.5", r'cost is "1.5"'),
        ("cat,dog,-0.1", r'cost is "-0.1"'),
        ("cat,dog,nan", r'cost is "nan"'),
        ("cat,dog,high", r'cost is "high"'),
        ("cat,cat,0.5", "a correct prediction costs 0.5"),
        ("dog,car,0.5", "dog as car occurs twice"),
    ],
)
def test_costs_that_are_no_costs_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        read_costs(table(tmp_path, "true,predicted,cost", "dog,car,0.5", line), NAMES)


def test_the_tables_of_gtsrb_read_back_as_its_rules(tmp_path: Path) -> None:
    def printed(kind: Kind) -> Path:
        rows = LISTS[kind](None)
        lines = (",".join(f'"{value}"' for value in row.values()) for row in rows)
        return table(tmp_path, ",".join(rows[0]), *lines)

    assert read_families(printed(Kind.FAMILIES), CLASS_NAMES) == FAMILIES
    costs = read_costs(printed(Kind.COSTS), CLASS_NAMES)
    assert np.allclose(costs, cost_matrix(CLASS_NAMES), rtol=0, atol=1e-12)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    labels = np.arange(60) % 3
    images = np.repeat(numbered_images(60), 3, axis=3)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    (tmp_path / "labels.csv").write_text("ClassId,SignName\n0,cat\n1,dog\n2,car\n")
    (tmp_path / "families.csv").write_text("class,family\ncat,animal\ndog,animal\ncar,vehicle\n")
    (tmp_path / "costs.csv").write_text("true,predicted,cost\ncat,dog,0.25\n")
    return Place(tmp_path)


def test_the_settings_bring_both_to_the_audit_and_change_the_evidence(place: Place) -> None:
    test = DataSettings(kind="npz", path="data.npz", frames_per_sign=1.0)
    plain = place.test(DataRoles(test=test), HazardSettings())
    known = place.test(DataRoles(test=test, families="families.csv"), HazardSettings(costs="costs.csv"))
    assert known.fingerprint != plain.fingerprint
    assert replace(known, costs=None).fingerprint != known.fingerprint
    answers = np.where(known.labels == 0, 1, known.labels)  # each cat is read as a dog
    result = run(AuditInputs(Answers(np.eye(3)[answers]), known), PerformanceSettings(bootstrap=100))
    assert metric(result, "hazard_weighted_error").value == pytest.approx(0.25 / 3)
    assert metric(result, "recall", "family:animal").value == pytest.approx(0.5)
    assert metric(result, "recall", "family:vehicle").value == 1.0


def test_costs_follow_a_choice_of_classes() -> None:
    costs = np.array([[0, 0.1, 0.2], [0.3, 0, 0.4], [0.5, 0.6, 0]])
    chosen = dataset(np.arange(30) % 3, NAMES)
    chosen = replace(chosen, costs=costs).only(("car", "cat"))
    assert chosen.costs is not None
    assert chosen.costs.tolist() == [[0, 0.5], [0.2, 0]]


def test_a_folder_in_place_of_a_table_is_no_file(place: Place) -> None:
    (place.base / "folder").mkdir()
    roles = DataRoles(test=DataSettings(kind="npz", path="data.npz"), families="folder")
    with pytest.raises(ConfigError, match=r"data\.families: .*folder is not a file; expected a CSV file"):
        place.test(roles, HazardSettings())


@pytest.mark.parametrize("key", ["data.families", "hazard.costs"])
def test_a_file_that_is_not_there_names_its_setting(place: Place, key: str) -> None:
    test = DataSettings(kind="npz", path="data.npz")
    families, costs = ("none.csv", "") if key == "data.families" else ("", "none.csv")
    with pytest.raises(ConfigError, match=rf"{key}: .*none\.csv does not exist"):
        place.test(DataRoles(test=test, families=families), HazardSettings(costs=costs))
