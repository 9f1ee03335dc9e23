"""Which file is the model, and what is copied of it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from safeml.errors import InputRefused
from safeml.limits import Limits
from safeml.scan import snapshot as copying
from safeml.scan.snapshot import fingerprint, snapshot
from safeml.scan.sources import architecture_beside, find_model, is_checkpoint_prefix, read_manifest

ARCHITECTURE = '{"class_name": "Sequential", "config": {}}'


def put(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_file_is_itself_and_the_chosen_checkpoint_has_its_manifest(tmp_path: Path) -> None:
    put(tmp_path, a__keras="a", b__keras="b", training__json='{"chosen": {"file": "a.keras"}}')
    chosen = find_model(tmp_path / "a.keras")
    assert chosen.file == tmp_path / "a.keras"
    assert chosen.manifest == {"chosen": {"file": "a.keras"}}
    assert find_model(tmp_path / "b.keras").manifest is None
    folder = find_model(tmp_path)
    assert (folder.file, folder.manifest) == (chosen.file, chosen.manifest)
    assert "training.json" in folder.chosen


@pytest.mark.parametrize("named", ["..", ".", "", "/", "a/.."])
def test_a_manifest_that_names_a_folder_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"chosen": {"file": named}}))
    with pytest.raises(InputRefused, match="names no chosen checkpoint"):
        find_model(tmp_path)


@pytest.mark.parametrize("named", ["../../etc/m.keras", "/etc/m.keras", "m.keras"])
def test_a_manifest_never_leads_out_of_its_folder(tmp_path: Path, named: str) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"chosen": {"file": named}}))
    assert find_model(tmp_path).file == tmp_path / "m.keras"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, '"' * 100, "\ufeff{}"]
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(InputRefused, match=r"training\.json: "):
        read_manifest(tmp_path)


def test_weights_find_their_architecture_and_the_reverse(tmp_path: Path) -> None:
    put(tmp_path, m__weights__h5="w", m__json=ARCHITECTURE, other__json=ARCHITECTURE)
    assert architecture_beside(tmp_path / "m.weights.h5") == tmp_path / "m.json"
    found = find_model(tmp_path / "m.json")
    assert (found.file, found.architecture) == (tmp_path / "m.weights.h5", tmp_path / "m.json")


def test_the_only_architecture_is_told_from_a_history(tmp_path: Path) -> None:
    put(tmp_path, w__weights__h5="w", net__json=ARCHITECTURE, history__json='{"val_accuracy": [0.5]}')
    assert architecture_beside(tmp_path / "w.weights.h5") == tmp_path / "net.json"
    put(tmp_path, net2__json=ARCHITECTURE)
    with pytest.raises(InputRefused, match="2 JSON architectures stand beside it"):
        architecture_beside(tmp_path / "w.weights.h5")


def test_an_architecture_without_weights_is_refused(tmp_path: Path) -> None:
    put(tmp_path, m__json=ARCHITECTURE)
    with pytest.raises(InputRefused, match="is an architecture without weights"):
        find_model(tmp_path / "m.json")


def test_a_copy_is_private_whole_and_gone_after_use(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "m.h5").write_bytes(content)
    with snapshot(tmp_path / "m.h5") as copy:
        assert copy.copy.read_bytes() == content
        assert copy.copy.suffix == ".h5"
        assert stat.S_IMODE(copy.copy.parent.stat().st_mode) == 0o700
        (tmp_path / "m.h5").write_bytes(b"another")
        assert copy.copy.read_bytes() == content
        kept = copy
    assert not kept.copy.exists()
    assert fingerprint(tmp_path / "m.h5") != kept.sha256


def test_a_folder_is_copied_and_every_change_of_it_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    (folder / "variables").mkdir(parents=True)
    put(folder, saved_model__pb="graph")
    (folder / "variables" / "variables.index").write_text("index")
    first = fingerprint(folder)
    assert fingerprint(folder) == first
    (folder / "variables" / "variables.index").write_text("indeX")
    second = fingerprint(folder)
    (folder / "empty").touch()
    assert len({first, second, fingerprint(folder)}) == 3
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputRefused, match="symbolic link"):
        fingerprint(folder)


def test_a_file_beyond_the_limit_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "LIMITS", Limits(model_bytes=1000))
    (tmp_path / "m.keras").write_bytes(b"x" * 1001)
    with pytest.raises(InputRefused, match="is larger than"):
        fingerprint(tmp_path / "m.keras")


def test_numbers_of_a_folder_may_begin_with_zeros_and_a_model_file_may_not(tmp_path: Path) -> None:
    """A bias that was never trained is stored as zeros, and may be the first one."""
    folder = tmp_path / "m"
    (folder / "variables").mkdir(parents=True)
    put(folder, saved_model__pb="graph")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(4096))
    with snapshot(folder) as copy:
        assert (copy.copy / "variables" / "variables.data-00000-of-00001").read_bytes() == bytes(4096)
    (tmp_path / "m.keras").write_bytes(bytes(4096))
    with pytest.raises(InputRefused, match="starts with zeros only"):
        fingerprint(tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["", "cp.ckpt", "cp.ckpt.index", "cp.ckpt.data-00000-of-00001"])
def test_a_tensorflow_checkpoint_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    for file in ("checkpoint", "cp.ckpt.index", "cp.ckpt.data-00000-of-00001"):
        (tmp_path / file).touch()
    with pytest.raises(InputRefused, match=r"is a TensorFlow checkpoint \(cp.ckpt.index\).*model.save"):
        find_model(tmp_path / name)
    assert is_checkpoint_prefix(tmp_path / name) == (name == "cp.ckpt")


def test_the_model_of_an_mlflow_folder_is_opened(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").touch()
    with pytest.raises(InputRefused, match="a folder of MLflow with 0 models"):
        find_model(tmp_path)
    (tmp_path / "data" / "model").mkdir(parents=True)
    (tmp_path / "data" / "model" / "saved_model.pb").touch()
    assert find_model(tmp_path).file == tmp_path / "data" / "model"
    (tmp_path / "data" / "model.keras").touch()
    with pytest.raises(InputRefused, match="2 models"):
        find_model(tmp_path)


@pytest.mark.parametrize("inner", ["model", "artifacts/model"])
def test_the_run_folder_of_mlflow_holds_its_model(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / inner
    (folder / "data").mkdir(parents=True)
    for file in ("MLmodel", "data/model.keras"):
        (folder / file).touch()
    assert find_model(tmp_path).file == folder / "data" / "model.keras"
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "MLmodel").touch()
    with pytest.raises(InputRefused, match=r"holds 2 MLflow models, such as .*model and .*other"):
        find_model(tmp_path)
