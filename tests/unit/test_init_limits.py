"""`safeml init` writes the gates that the data can feed, and an accepted entry with its reason for every other one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from safeml.cli.main import app
from safeml.config.audit import Config, load_config
from safeml.data.signs import CLASS_NAMES
from safeml.defaults import GATES
from safeml.errors import ConfigError, MissingInput
from tests.fakes import numbered_images

pytestmark = pytest.mark.slow


def data(
    file: Path, classes: int, frames: int = 100, seed: int = 0, tracks: bool = False, boxes: bool = False
) -> None:
    """Write `frames` images of each class; with tracks, each image is another sign; with boxes, the sign is in the middle."""
    labels = np.repeat(np.arange(classes), frames)
    columns = {"track_id": np.arange(len(labels)) + 10_000 * (seed + 1)} if tracks else {}
    if boxes:
        zoom = np.where(np.arange(len(labels)) % 2, 1, 4)  # images of two sizes
        columns["roi"] = zoom[:, None] * np.array([3, 3, 13, 13])
        columns["roi"][::4, 2:] -= 2  # signs of two shares of their image
        columns["width"] = columns["height"] = 16 * zoom
    images = np.repeat(numbered_images(len(labels), seed), 3, axis=3)
    np.savez(file, images=images, labels=labels, **columns)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.keras").touch()
    return tmp_path


def init(*options: str) -> Config:
    done = CliRunner().invoke(app, ["init", "--model", "m.keras", "--data", "test.npz", *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert "Next: safeml plan" in done.stdout
    return load_config(Path("safeml.toml"))


def accepted(config: Config) -> dict[str, str]:
    """Return the reason of each accepted entry that replaces a default gate, by the gate."""
    gates = {(gate.stage, gate.metric, gate.slice): gate.id for gate in GATES}
    found = {gates.get((entry.stage, entry.metric, entry.slice)): entry.reason for entry in config.accepted}
    return {gate: reason for gate, reason in found.items() if gate is not None}


def test_every_default_gate_is_a_gate_or_an_accepted_entry_without_an_owner(folder: Path) -> None:
    data(folder / "test.npz", 4)
    config = init("--frames-per-sign", "1")
    replaced = accepted(config)
    assert {gate.id for gate in config.gates} | set(replaced) == {gate.id for gate in GATES}
    assert not {gate.id for gate in config.gates} & set(replaced)
    assert {entry.owner for entry in config.accepted} == {""}
    assert "data.train" in replaced["shared-tracks"]
    assert "data.train" in replaced["shared-duplicates"]
    assert "every mistake costs 1" in replaced["hazard-weighted-error"]
    assert "families" in replaced["worst-family-recall"]
    assert "All images are bright" in replaced["accuracy-gap-conditions"]
    assert "boxes" in replaced["saliency-lift"]
    assert set(replaced) == {
        "accuracy-gap-conditions",
        "shared-tracks",
        "shared-duplicates",
        "hazard-weighted-error",
        "worst-family-recall",
        "membership-advantage",
        "saliency-lift",
        "monitor-residual-hazard",
        "monitor-availability",
    }


@pytest.mark.slow
def test_what_the_user_brings_turns_entries_into_gates(folder: Path) -> None:
    data(folder / "test.npz", 4, tracks=True, boxes=True)
    data(folder / "train.npz", 4, seed=1, tracks=True, boxes=True)
    data(folder / "valid.npz", 4, seed=2, tracks=True, boxes=True)
    (folder / "labels.csv").write_text("ClassId,SignName\n0,a\n1,b\n2,c\n3,d\n")
    (folder / "families.csv").write_text("class,family\na,x\nb,x\nc,y\nd,y\n")
    (folder / "costs.csv").write_text("true,predicted,cost\na,b,0.5\n")
    config = init(
        "--train", "train.npz", "--valid", "valid.npz", "--families", "families.csv", "--costs", "costs.csv"
    )
    assert accepted(config) == {}
    assert {gate.id for gate in config.gates} == {gate.id for gate in GATES}
    assert config.data.train is not None
    assert (config.data.train.path, config.data.families, config.hazard.costs) == (
        "train.npz",
        "families.csv",
        "costs.csv",
    )


def test_too_few_sign_tracks_say_how_many_would_do(folder: Path) -> None:
    data(folder / "test.npz", 43, frames=1)
    rows = [f"{k},{name}" for k, name in enumerate(CLASS_NAMES)]
    (folder / "labels.csv").write_text("\n".join(["ClassId,SignName", *rows]) + "\n")
    replaced = accepted(init("--frames-per-sign", "1"))
    assert "72 sign tracks would suffice" in replaced["clean-accuracy"]


def test_a_fault_of_the_data_stays_a_gate_that_fails(folder: Path) -> None:
    data(folder / "test.npz", 4)
    data(folder / "train.npz", 4)
    other = np.load(folder / "train.npz")
    np.savez(folder / "train.npz", images=other["images"][:200], labels=other["labels"][:200])
    config = init("--train", "train.npz", "--frames-per-sign", "1")
    assert "shared-duplicates" in {gate.id for gate in config.gates}


def test_nothing_is_written_when_the_data_cannot_be_read(folder: Path) -> None:
    (folder / "test.npz").write_bytes(b"no archive")
    with pytest.raises(Exception, match=r"test\.npz"):
        init()
    assert not (folder / "safeml.toml").exists()
    with pytest.raises(MissingInput, match="nowhere: there is no such file"):
        init("--train", "nowhere")
    assert not (folder / "safeml.toml").exists()


def test_an_absent_model_is_named(folder: Path) -> None:
    (folder / "m.keras").unlink()
    data(folder / "test.npz", 4)
    with pytest.raises((MissingInput, ConfigError), match=r"m\.keras: there is no such file"):
        init()


def test_without_track_ids_the_option_is_named(folder: Path) -> None:
    data(folder / "test.npz", 4)
    done = CliRunner().invoke(app, ["init", "--model", "m.keras", "--data", "test.npz"])
    assert "set --frames-per-sign (1 if all images are independent)" in done.stdout
    config = load_config(Path("safeml.toml"))
    assert {gate.id for gate in config.gates} == {"gradient-masking"}
    assert "frames_per_sign" in accepted(config)["clean-accuracy"]


def test_data_that_can_prove_nothing_get_every_gate(folder: Path) -> None:
    data(folder / "test.npz", 4, frames=2)
    done = CliRunner().invoke(app, ["init", "--model", "m.keras", "--data", "test.npz"])
    assert "all were written as they are" in done.stdout
    config = load_config(Path("safeml.toml"))
    assert {gate.id for gate in config.gates} == {gate.id for gate in GATES}
    assert accepted(config) == {}
