"""Two classes are the fewest there can be: every stage, every figure and the report must hold for K = 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeml.config.audit import parse_config
from safeml.data.place import Place
from safeml.report.write import write_report
from tests import tiny

pytestmark = pytest.mark.slow

SIGNS = '["Stop", "Priority road"]'
RECIPE = f"""
name = "two"
architecture = "lenet"
width = 4
epochs = 3
batch = 16
[data]
valid_fraction = 0.3
[data.train]
kind = "rendered"
images = 2150
seed = 1
classes = {SIGNS}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safeml.recipes import prepare, train

    folder = tmp_path_factory.mktemp("two")
    (folder / "recipe.toml").write_text(RECIPE)
    prepared = prepare(folder / "recipe.toml", Place(folder))
    return train(prepared, folder / "model", lambda epoch: None)


def test_every_stage_measures_two_classes_and_every_page_is_drawn(trained: Path, tmp_path: Path) -> None:
    from safeml import pipeline

    data = {"kind": "rendered", "images": 860, "seed": 3, "classes": ["Stop", "Priority road"]}
    config = parse_config(
        {
            "model": {"path": str(trained)},
            "data": {"test": data, "train": {**data, "seed": 1, "images": 2150}},
            "stages": tiny.tables(
                adversarial={
                    "images": 20,
                    "threats": [{"norm": "linf", "epsilon": "4/255"}, {"norm": "l2", "epsilon": 0.5}],
                },
                physical={"patch_pair": ["Stop", "Priority road"]},
            ),
            "gates": [
                {
                    "id": "accuracy",
                    "stage": "performance",
                    "metric": "clean_accuracy",
                    "op": ">=",
                    "threshold": 0.5,
                }
            ],
        },
        "safeml.toml",
    )
    run, times, folder = pipeline.audit(config, Place(tmp_path, tmp_path), trained, tmp_path / "run")
    assert {stage.stage: stage.status for stage in run.stages} == {
        stage.name: "ok" for stage in pipeline.STAGES if stage.only_with is None
    }
    assert not [
        finding
        for stage in run.stages
        for finding in stage.findings
        if finding.code in ("stage-crashed", "not-measured")
    ]
    names = {metric.name for stage in run.stages for metric in stage.metrics}
    assert {"clean_accuracy", "recall_worst_family", "hazard_weighted_error", "masking_flags"} <= names
    pages = write_report(run, folder, times)
    assert all(page.stat().st_size > 0 for page in pages)
    assert "Priority road" in (folder / "performance.html").read_text()


def test_a_class_that_is_not_there_is_named_with_its_neighbour(tmp_path: Path) -> None:
    from safeml.config.recipe import load_recipe
    from safeml.errors import ConfigError
    from safeml.recipes import recipe_data

    (tmp_path / "recipe.toml").write_text(RECIPE.replace('"Stop"', '"Stopp"'))
    with pytest.raises(ConfigError, match='no class called "Stopp"; did you mean "Stop"'):
        recipe_data(load_recipe(tmp_path / "recipe.toml"), Place(tmp_path, tmp_path))
