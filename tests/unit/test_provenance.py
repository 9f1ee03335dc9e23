"""The evidence key: a number is measured again when code that can change it was edited."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import safeml
from safeml import provenance
from safeml.errors import ConfigError
from safeml.provenance import NOT_MEASURING, code_of, measuring_code

pytestmark = pytest.mark.slow

PACKAGE = Path(safeml.__file__).parent
ROOMS = sorted(
    entry.name
    for entry in PACKAGE.iterdir()
    if entry.suffix == ".py" or (entry.is_dir() and any(entry.rglob("*.py")))
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = tmp_path_factory.mktemp("copy") / "safeml"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_a_copy_has_the_key_of_the_original(copy: Path) -> None:
    assert measuring_code(copy) == measuring_code()


@pytest.mark.parametrize("room", ROOMS)
def test_an_edit_changes_the_key_unless_the_room_measures_nothing(tmp_path: Path, room: str) -> None:
    """Each file of a room in turn: the deny-list is about rooms, and no file of a measuring room may be left out.

    The package holds the room alone, because every key reads every file.
    """
    package = tmp_path / "safeml"
    package.mkdir()
    if room.endswith(".py"):
        files = [Path(shutil.copy(PACKAGE / room, package))]
    else:
        shutil.copytree(PACKAGE / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
        files = sorted((package / room).rglob("*.py"))
    before = measuring_code(package)
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text + b"\n# edited\n")
        changed = measuring_code(package) != before
        file.write_bytes(text)
        assert changed == (room not in NOT_MEASURING), file.relative_to(package)


def test_a_new_room_measures_by_default(copy: Path) -> None:
    before = measuring_code(copy)
    room = copy / "a_new_room"
    room.mkdir()
    (room / "fog.py").write_text("DENSITY = 0.5\n")
    added = measuring_code(copy)
    shutil.rmtree(room)
    assert added != before == measuring_code(copy)


def test_the_list_names_rooms_that_exist() -> None:
    assert set(NOT_MEASURING) <= set(ROOMS)


@pytest.mark.parametrize("room", ["attacks", "audits", "certification", "data", "metrics", "statistics"])
def test_what_computes_recorded_numbers_is_never_on_the_list(room: str) -> None:
    assert room not in NOT_MEASURING


@pytest.mark.parametrize("place", ["other_stage.py", "other_stage/fog.py", "other_stage/native/kernel.so"])
def test_the_code_of_another_package_is_in_the_key_of_its_stage(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single module, a package, and what it has compiled: each edit gives another key."""
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    if place != "other_stage.py":
        (tmp_path / "other_stage" / "__init__.py").touch()
    file.write_text("DENSITY = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_of("other_stage.fog:run")
    file.write_text("DENSITY = 0.6\n")
    assert code_of("other_stage.fog:run") != before
    file.write_text("DENSITY = 0.5\n")
    assert code_of("other_stage.fog:run") == before


def test_a_package_that_is_gone_is_named() -> None:
    with pytest.raises(ConfigError, match="the package gone_away cannot be found"):
        code_of("gone_away.fog:run")


def test_the_stage_key_holds_the_code_of_another_package_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    from safeml import pipeline, provenance
    from safeml.stages import OWN

    code = {"tests.toy.stage:run": "one"}
    monkeypatch.setattr(provenance, "code_of", lambda function: code[function])
    subject = SimpleNamespace(evidence={"code": "x"}, inputs=None)
    own = replace(next(stage for stage in OWN if not stage.needs))
    foreign = replace(own, run="tests.toy.stage:run")
    settings = own.settings()
    assert "stage code" not in pipeline.stage_key(own, subject, settings)[0]
    first = pipeline.stage_key(foreign, subject, settings)
    code["tests.toy.stage:run"] = "two"
    second = pipeline.stage_key(foreign, subject, settings)
    assert first[0]["stage code"] == "one"
    assert first[1] != second[1]


def test_the_devices_of_tensorflow_are_recorded_where_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a run was measured on the GPU or, where that is absent, on the CPU."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert set(provenance.hardware()) == {"system", "machine", "cores"}
    names = ("/physical_device:CPU:0", "/physical_device:GPU:0")
    config = SimpleNamespace(list_physical_devices=lambda: [SimpleNamespace(name=name) for name in names])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert provenance.hardware()["devices"] == "CPU:0 and GPU:0"
