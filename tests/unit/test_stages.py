"""The rows of the stages: complete, light, and agreeing with what the stages record and what the README says."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import safeml.stages
from safeml.audits.perfect import Perfect
from safeml.errors import ConfigError
from safeml.stages import OWN, STAGES, StageSettings, installed_stages, settings_of
from safeml.stages.base import load
from safeml.stages.physical import THREATS
from tests.stage_table import README, split, table

PACKAGE = Path(safeml.__file__).parent


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_row_is_whole(stage) -> None:
    settings = settings_of(StageSettings(), stage)
    assert type(settings) is stage.settings
    assert settings.enabled
    assert callable(load(stage.run))
    assert isinstance(load(stage.perfect), Perfect)
    assert stage.summary
    assert stage.heads
    recorded = {record.name for record in stage.records(settings)}
    for gate in stage.gates:
        assert gate.stage == stage.name
        assert gate.metric in recorded
        assert gate.rationale
    assert all(
        not record.weak
        for record in stage.records(settings)
        if record.name in {g.metric for g in stage.gates}
    )


def test_names_differ() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert list(StageSettings.model_fields) == [stage.name for stage in STAGES]


def test_the_title_is_that_of_the_row() -> None:
    """A stage's code may not write another title than its row has."""
    for stage in OWN:
        module = load(stage.run).__module__
        source = (PACKAGE.parent / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
        titles = set(re.findall(r'stage="[a-z]+",\s*title="([^"]+)"', source))
        assert titles <= {stage.title}, stage.name


def test_the_rows_load_no_arrays_and_no_framework() -> None:
    code = "import sys, safeml.stages; print([m for m in ('numpy', 'keras', 'tensorflow', 'art') if m in sys.modules])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_no_file_of_planning_knows_a_stage_by_name() -> None:
    names = "|".join(stage.name for stage in OWN if stage.name not in ("model", "training"))
    for file in sorted((PACKAGE / "planning").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(rf'"(?:{names})"', text), file.name


def test_the_threats_of_the_physical_row_are_those_that_are_attacked() -> None:
    from safeml.attacks.signs.registry import SIGN_THREATS

    assert set(SIGN_THREATS) == set(THREATS) - {"worst", "random_view"}


def test_the_readme_has_the_table_of_the_rows() -> None:
    _, inside, after = split(README.read_text(encoding="utf-8"))
    assert after
    assert inside == table()


def entry(value: object, name: str = "other") -> SimpleNamespace:
    return SimpleNamespace(name=name, value=f"{name}:ROW", load=lambda: value)


def test_another_package_adds_a_stage_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    row = replace(OWN[0], name="other", title="Other")
    monkeypatch.setattr(safeml.stages, "entry_points", lambda group: [entry(row)])
    assert installed_stages() == (row,)
    assert "other" in safeml.stages.tables((*OWN, row)).model_fields


@pytest.mark.parametrize(("value", "words"), [(OWN[0], 'names its stage "model"'), (7, "is not a Stage")])
def test_an_entry_point_that_is_no_new_row_is_refused(
    value: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safeml.stages, "entry_points", lambda group: [entry(value)])
    with pytest.raises(ConfigError, match=words):
        installed_stages()


def failing(error: BaseException) -> object:
    sys.stdout.write("a message of the package\n")
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'absent'"),
        AttributeError("no ROW"),
        RuntimeError("x"),
        SystemExit(0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_package_that_cannot_be_imported_is_named_and_prints_nothing_to_standard_output(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 of a package must not become that of the command, and its text must not become part of a JSON record."""
    point = SimpleNamespace(name="other", value="other:ROW", load=lambda: failing(error))
    monkeypatch.setattr(safeml.stages, "entry_points", lambda group: [point])
    with pytest.raises(
        ConfigError, match=f"other:ROW of safeml.stages cannot be imported .{type(error).__name__}"
    ):
        installed_stages()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "a message of the package\n")


def test_the_package_itself_declares_no_entry_point() -> None:
    assert [
        p for p in importlib.metadata.entry_points(group=safeml.stages.ENTRY_POINTS) if "safeml." in p.value
    ] == []


@pytest.mark.parametrize("head", ["classification", "regression"])
def test_a_stage_serves_the_heads_of_its_row_and_no_other(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regression model gets no verdict from a stage for classifiers: the gate is missing evidence, never a pass."""
    from safeml.classifiers import load
    from safeml.config.audit import parse_config
    from safeml.data.place import Place
    from safeml.pipeline import audit
    from tests.toy.classifier import Templates, load_model, write_data, write_model

    monkeypatch.setattr(load, "load_model", load_model)
    monkeypatch.setattr(Templates, "head", head, raising=False)
    write_model(tmp_path / "toy.model")
    write_data(tmp_path / "test.npz", 0)
    gate = {
        "id": "accuracy",
        "stage": "performance",
        "metric": "clean_accuracy",
        "op": ">=",
        "threshold": 0.1,
    }
    config = parse_config(
        {
            "model": {"path": "toy.model"},
            "data": {"test": {"kind": "npz", "path": "test.npz", "frames_per_sign": 1}},
            "stages": {"performance": {"bootstrap": 100}},
            "gates": [gate],
        },
        "safeml.toml",
    )
    rows = [stage for stage in OWN if stage.name in ("model", "performance")]
    place, model = Place(tmp_path, None), tmp_path / "toy.model"
    run, _, _ = audit(config, place, model, tmp_path / "out", stages=rows)
    of = {stage.stage: stage for stage in run.stages}
    assert of["model"].status == "ok"
    assert (of["model"].provenance.model, of["model"].provenance.data) == (
        run.model.fingerprint,
        run.test_data.fingerprint,
    )
    assert len(of["model"].provenance.key) == 64
    if head == "classification":
        assert of["performance"].status == "ok"
        assert run.verdict.gates[0].status == "pass"
    else:
        assert of["performance"].status == "skipped"
        assert of["performance"].reason == "it measures classification models; this is a regression model"
        assert run.verdict.exit_code == 4
