"""What `safeml inspect` writes, prints and refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from safeml.classifiers.contract import contract_key
from safeml.cli import inspect as command
from safeml.config.audit import parse_config
from safeml.contracts.candidates import candidates
from safeml.contracts.decide import inspect_model
from safeml.contracts.records import Outcome
from safeml.contracts.result import contract_run, stage_result
from safeml.data.dataset import ImageDataset
from safeml.defaults import new_config
from safeml.errors import InputRefused
from safeml.report.write import write_page
from safeml.results import Table
from safeml.settings.toml_file import read_toml
from tests.contract_fakes import FakeModel, K, model_with, photos

pytestmark = pytest.mark.slow


def test_what_is_proposed_is_what_the_settings_say(tmp_path: Path) -> None:
    for entry in candidates((None, None, None), (16, 16, 3), K):
        contract = entry.settings.model_copy(update={"chosen_on": "a" * 64})
        path = tmp_path / "safeml.toml"
        path.write_text(new_config("m.keras", "d.npz", None, contract=contract), encoding="utf-8")
        assert parse_config(read_toml(path), "here").model.input == contract


def test_every_outcome_is_a_page(tmp_path: Path) -> None:
    data = photos(1200)
    output_of = np.roll(np.arange(K), 1)
    models = {
        "": model_with(data, {("rgb", (0, 1)): 0.95}),
        "classes": FakeModel(lambda contract: data.labels, outputs=58),
        "chance": FakeModel(lambda contract: np.zeros(len(data), int)),
        "same": FakeModel(lambda contract: data.labels),
        "permutation": FakeModel(lambda contract: output_of[data.labels]),
    }
    for reason, model in models.items():
        found = inspect_model(model, data)
        assert found.reason == reason
        text = write_page(contract_run(found, data), tmp_path).read_text(encoding="utf-8")
        assert "Input contract" in text
        for entry in found.tried[:3]:
            assert entry.name in text
        tables = {figure.id for figure in stage_result(found).figures if isinstance(figure, Table)}
        assert tables == ({"contracts"} if found.tried else set()) | (
            {"permutation"} if reason == "permutation" else set()
        )
        assert stage_result(found).findings[0].severity == (
            "info" if not reason else "serious" if reason in ("chance", "classes") else "warning"
        )


@dataclass(frozen=True, eq=False)
class FakeOpened:
    model: FakeModel

    def check_unchanged(self) -> None:
        """It never changes."""


def call(
    model: FakeModel, data: ImageDataset, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    np.savez(folder / "d.npz", images=data.images, labels=data.labels, class_names=np.array(data.class_names))
    (folder / "m.keras").touch()
    monkeypatch.setattr("safeml.classifiers.load.load_model", lambda path: FakeOpened(model))
    monkeypatch.chdir(folder)
    return CliRunner().invoke(app, ["m.keras", "--data", "d.npz", *arguments])


def test_the_command_writes_settings_that_can_be_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(800)
    model = model_with(data, {("bgr", (0, 255)): 0.95})
    (tmp_path / "sub").mkdir()
    done = call(
        model,
        data,
        tmp_path,
        monkeypatch,
        "--out",
        "sub/safeml.toml",
        "--frames-per-sign",
        "2",
        "--report",
        "pages",
    )
    assert done.exit_code == 0, done.output
    assert "input contract is BGR, 0..255" in done.stdout
    assert "Not tried: histogram equalisation" in done.stdout
    config = parse_config(read_toml(tmp_path / "sub" / "safeml.toml"), "here")
    assert (config.model.input.channels, config.model.input.range) == ("bgr", (0, 255))
    contract = config.model.input
    assert contract.chosen_on == contract_key(contract, data.pixels_fingerprint, model.fingerprint)
    assert (config.model.path, config.data.test.path) == ("../m.keras", "../d.npz")
    assert config.data.test.frames_per_sign == 2
    assert (tmp_path / "pages" / "contract.html").is_file()
    again = call(model, data, tmp_path, monkeypatch, "--out", "sub/safeml.toml")
    assert "exists already" in str(again.exception)
    assert call(model, data, tmp_path, monkeypatch, "--out", "sub/safeml.toml", "--force").exit_code == 0


def test_json_is_all_that_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(800)
    done = call(model_with(data, {("rgb", (0, 1)): 0.95}), data, tmp_path, monkeypatch, "--json")
    assert done.exit_code == 0
    found = Outcome.model_validate(json.loads(done.stdout))
    assert found.winner is not None
    assert found.winner.name == "RGB, 0..1"
    assert len(found.tried) == 28
    assert (tmp_path / "safeml.toml").is_file()


def test_doubt_leaves_with_3_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(500)
    done = call(FakeModel(lambda contract: data.labels), data, tmp_path, monkeypatch)
    assert done.exit_code == 3
    assert "same predictions" in done.stdout
    assert not (tmp_path / "safeml.toml").exists()


def test_another_number_of_classes_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(200)
    done = call(FakeModel(lambda contract: data.labels, outputs=58), data, tmp_path, monkeypatch, "--json")
    assert isinstance(done.exception, InputRefused)
    assert "58 outputs" in str(done.exception)
    assert "43 classes" in str(done.exception)
    assert json.loads(done.stdout)["reason"] == "classes"
    assert not (tmp_path / "safeml.toml").exists()
