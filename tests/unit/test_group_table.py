"""Groups of images from a table: every image is in one group of each column, and the weakest group is measured as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safeml.audits.base import AuditInputs
from safeml.audits.performance.run import run
from safeml.config.audit import parse_config
from safeml.data.dataset import ImageDataset
from safeml.data.folder import load
from safeml.data.group_table import MISSING, with_groups
from safeml.data.place import Place
from safeml.defaults import new_config
from safeml.errors import ConfigError, InputRefused
from safeml.settings.data import DataRoles, DataSettings
from safeml.settings.hazard import HazardSettings
from safeml.stages.performance import PerformanceSettings
from safeml.statistics import Clustering, proportion_metric
from tests.fakes import dataset, oracle
from tests.records import codes, metric

N = 240
LABELS = np.arange(N) % 3
NIGHT = np.arange(N) % 4 == 0
SITE = np.where(np.arange(N) < N // 2, "a", "b")


def images() -> ImageDataset:
    return dataset(LABELS, ("x", "y", "z"), frames_per_sign=1.0)


def table(folder: Path, *lines: str) -> Path:
    file = folder / "groups.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def rows() -> list[str]:
    return [f"{k},{'night' if NIGHT[k] else 'day'},{SITE[k]}" for k in range(N)]


def audited(data: ImageDataset, answers: np.ndarray):
    return run(AuditInputs(oracle(answers, 3), data), PerformanceSettings(bootstrap=100))


def test_each_group_has_its_accuracy_and_the_weakest_one_its_metric(tmp_path: Path) -> None:
    data = with_groups(images(), table(tmp_path, "image,condition,site", *rows(), "99999,dusk,c"))
    answers = np.where(NIGHT & (np.arange(N) % 8 == 0), (LABELS + 1) % 3, LABELS)
    result = audited(data, answers)
    right = answers == LABELS
    for where, member in {
        "group:condition=night": NIGHT,
        "group:condition=day": ~NIGHT,
        "group:site=a": SITE == "a",
        "group:site=b": SITE == "b",
    }.items():
        expected = proportion_metric("x", "x", right[member], clustering=Clustering(frames_per_sign=1))
        found = metric(result, "accuracy", where)
        assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    worst = metric(result, "accuracy_worst_group")
    assert (worst.value, worst.low) == (0.5, metric(result, "accuracy", "group:condition=night").low)
    assert worst.method.startswith("weakest: group:condition=night")
    assert "over 4 groups" in worst.method
    assert "accuracy-by-group" in {figure.id for figure in result.figures}
    slices = {entry.slice for entry in result.metrics}
    assert not [name for name in slices if "dusk" in name]


def test_small_groups_are_named_as_untested(tmp_path: Path) -> None:
    lines = [f"{k},{'tunnel' if k < 5 else 'open'}" for k in range(N)]
    result = audited(with_groups(images(), table(tmp_path, "image,place", *lines)), LABELS)
    assert "group-untested" in codes(result)
    assert metric(result, "accuracy_worst_group").n == N - 5


def test_without_a_table_there_is_no_group_and_no_word_about_it() -> None:
    result = audited(images(), LABELS)
    assert "accuracy_worst_group" not in {entry.name for entry in result.metrics}
    with_family = replace(
        images(), groups={"family": np.array(["f"] * N), "brightness": np.array(["dark"] * N)}
    )
    assert not [entry for entry in audited(with_family, LABELS).metrics if entry.slice.startswith("group:")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,condition", "0,day"], "the image 1 has no row"),
        (["image,condition", *(f"{k},day" for k in range(N)), "00,day"], "the image 0 occurs twice"),
        (["image,condition", *(f"{k},{61 * 'x'}" for k in range(N))], "condition has 61 characters"),
        (["image,aspect", *(f"{k},f" for k in range(N))], "the column aspect has the name of a group that safeml derives"),
        (["image,family", *(f"{k},f" for k in range(N))], "the column family has the name of a group that safeml derives"),
        (["image,Site No", *(f"{k},f" for k in range(N))], 'the column is called "Site No"'),
        (["image", *(f"{k}" for k in range(N))], "has 0 group columns"),
        (["image,frame", *(f"{k},{k}" for k in range(N))], "has 240 groups; expected at most 200"),
        (["name,site", "0,a"], "no column image"),
    ],
)  # fmt: skip
def test_a_table_that_leaves_a_group_open_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        with_groups(images(), table(tmp_path, *lines))


def test_images_without_a_value_are_a_group(tmp_path: Path) -> None:
    lines = ["image,site", *(f"{k},{'  ' if k % 3 == 0 else 'north'}" for k in range(N))]
    site = with_groups(images(), table(tmp_path, *lines)).groups["site"]
    assert set(site) == {MISSING, "north"}
    np.testing.assert_array_equal(site == MISSING, np.arange(N) % 3 == 0)


def test_names_that_unicode_regards_as_equal_are_one_group_with_a_note(tmp_path: Path) -> None:
    composed, decomposed = "K\u00f6ln", "Ko\u0308ln"
    lines = ["image,site", *(f"{k},{composed if k % 2 else decomposed}" for k in range(N))]
    data = with_groups(images(), table(tmp_path, *lines))
    assert set(data.groups["site"]) == {composed}
    assert "The group column site writes 1 of its 1 names in two Unicode forms" in data.notes[-1]
    one_form = ["image,site", *(f"{k},{decomposed}" for k in range(N))]
    assert with_groups(images(), table(tmp_path, *one_form)).notes == images().notes


def test_images_of_a_folder_are_named_by_their_path(tmp_path: Path) -> None:
    for name in ("stop/1.png", "stop/2.png", "yield/1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / name)
    data = load(tmp_path / "data", size=16)
    assert data.files is not None
    assert data.files.tolist() == ["stop/1.png", "stop/2.png", "yield/1.png"]
    table(tmp_path, "image;site", "./yield/1.png;north", "stop\\2.png;south", "stop/1.png;north")
    roles = DataRoles(test=DataSettings(kind="folder", path="data", size=16), groups="groups.csv")
    found = Place(tmp_path).test(roles, HazardSettings())
    assert found.groups["site"].tolist() == ["north", "south", "north"]
    part = found.take(np.array([2, 1]))
    assert part.files is not None
    assert (part.files.tolist(), part.groups["site"].tolist()) == (
        ["yield/1.png", "stop/2.png"],
        ["north", "south"],
    )
    with pytest.raises(ConfigError, match=r"data\.groups: .* does not exist"):
        Place(tmp_path).test(roles.model_copy(update={"groups": "absent.csv"}), HazardSettings())


def test_init_writes_the_setting_and_a_gate_may_read_a_group() -> None:
    import tomllib

    values = tomllib.loads(new_config("m.keras", "data", 1.0, "folder", families="f.csv", groups="g.csv"))
    assert values["data"]["groups"] == "g.csv"
    assert values["data"]["families"] == "f.csv"
    gate = {"id": "night", "stage": "performance", "metric": "accuracy", "slice": "group:condition=night", "op": ">=", "threshold": 0.9}  # fmt: skip
    assert parse_config({**values, "gates": [*values["gates"], gate]}, "safeml.toml").gates[-1].id == "night"
