"""The evidence key: a number is measured again when code that can change it was edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import safeml
from safeml.provenance import NOT_MEASURING, measuring_code

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
def test_an_edit_changes_the_key_unless_the_room_measures_nothing(copy: Path, room: str) -> None:
    """Each file of a room in turn: the deny-list is about rooms, and no file of a measuring room may be left out."""
    before = measuring_code(copy)
    files = [copy / room] if room.endswith(".py") else sorted((copy / room).rglob("*.py"))
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text + b"\n# edited\n")
        changed = measuring_code(copy) != before
        file.write_bytes(text)
        assert changed == (room not in NOT_MEASURING), file.relative_to(copy)


def test_a_new_room_measures_by_default(copy: Path) -> None:
    before = measuring_code(copy)
    room = copy / "corruptions"
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
