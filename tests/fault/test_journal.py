"""Slices that were kept: whole ones come back, everything else is measured again and noted."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.errors import StageError
from safeml.sealed import Arrays, Damaged, Form, largest, seal, unseal
from safeml.store.journal import Journal

FORM: Form = {"right": ("bool", (5,)), "logits": ("float32", (5, 3)), "batches": ("int64", (1,))}
ARRAYS: Arrays = {
    "right": np.array([True, False, True, True, False]),
    "logits": np.array([[0.0, -0.0, np.inf]] * 4 + [[np.nan, 1e-45, -np.inf]], np.float32),
    "batches": np.array([256]),
}
KEY = hashlib.sha256(b"key").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


class Counted:
    """Measures, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Arrays:
        self.times += 1
        return ARRAYS


def same(found: Arrays) -> bool:
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in ARRAYS.items()
    }


def ask(
    folder: Path, measure: Callable[[], Arrays], seed: int = 7, **parts: object
) -> tuple[Journal, Arrays]:
    journal = Journal(folder)
    work = journal.work("adversarial", {"model": "m", "seed": seed})
    return journal, work("pgd-linf_4", {"steps": 20, **parts}, FORM, measure)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """The one slice that is kept in `tmp_path`."""
    ask(tmp_path, Counted())
    [path] = (tmp_path / "work" / "adversarial").iterdir()
    return path


def test_a_kept_slice_comes_back_to_the_bit(entry: Path, tmp_path: Path) -> None:
    measure = Counted()
    journal, found = ask(tmp_path, measure)
    assert (measure.times, journal.slices, journal.recomputed) == (0, 1, [])
    assert same(found)


@pytest.mark.parametrize("change", [{"seed": 8}, {"steps": 21}, {"threat": "l2"}])
def test_other_evidence_or_parts_are_another_slice(entry: Path, tmp_path: Path, change: dict) -> None:
    measure = Counted()
    journal, _ = ask(tmp_path, measure, **change)
    assert (measure.times, journal.slices) == (1, 0)
    assert len(list(entry.parent.iterdir())) == 2


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(ARRAYS))


def objects(path: Path) -> None:
    np.savez(
        path, **{name: np.array([array, None], object) for name, array in ARRAYS.items()}, allow_pickle=True
    )


def other_key(path: Path) -> None:
    path.write_bytes(seal(OTHER, ARRAYS))


def resealed(**arrays: np.ndarray) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with np.load(path) as kept:
            path.write_bytes(seal(str(kept["key"]), {**ARRAYS, **arrays}))

    return change


def edited(path: Path) -> None:
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    np.savez(path, **{**arrays, "right": ~arrays["right"]})


def deflated(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)


def flipped(place: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[int(place * len(raw))] ^= 1
        path.write_bytes(raw)

    return change


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere.npz")
    path.symlink_to(path.parent.parent / "elsewhere.npz")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def truncated(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)]) and None


def grown(path: Path) -> None:
    with path.open("ab") as stream:
        stream.truncate(1 << 40)  # sparse: a terabyte that no disk holds


DAMAGES = {
    "empty": (truncated(0), "damaged"),
    "cut at 1/10": (truncated(0.1), "damaged"),
    "cut at 1/2": (truncated(0.5), "damaged"),
    "cut at 9/10": (truncated(0.9), "damaged"),
    "no archive": (lambda path: path.write_bytes(b"\x00" * 500), "damaged"),
    "edited": (edited, "damaged or was edited"),
    "pickled": (pickled, "damaged"),
    "objects": (objects, "holds"),
    "another key": (other_key, "other evidence"),
    "another type": (resealed(right=np.ones(5, np.uint8)), "another type or shape"),
    "another length": (resealed(right=np.ones(4, bool)), "another type or shape"),
    "another shape": (resealed(logits=np.zeros((3, 5), np.float32)), "another type or shape"),
    "big-endian": (resealed(logits=np.zeros((5, 3), ">f4")), "another type or shape"),
    "fortran order": (lambda path: np.savez(path, logits=np.zeros((5, 3), order="F")), "other arrays"),
    "one array more": (resealed(more=np.zeros(1)), "other arrays"),
    "compressed": (deflated, "another type or shape"),
    "a link": (linked, "is a link"),
    "a pipe": (piped, "not a plain file"),
    "a terabyte": (grown, "larger"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_a_damaged_or_foreign_slice_is_measured_again_and_noted(
    name: str, entry: Path, tmp_path: Path
) -> None:
    damage, reason = DAMAGES[name]
    damage(entry)
    measure = Counted()
    journal, found = ask(tmp_path, measure)
    assert (measure.times, journal.slices) == (1, 0)
    assert same(found)
    [note] = journal.recomputed
    assert reason in note.reason
    assert note.entry == f"work/adversarial/{entry.name}"
    # and the good one that was written over it is read back
    journal, found = ask(tmp_path, measure)
    assert (measure.times, journal.slices, journal.recomputed) == (1, 1, [])


def test_a_folder_in_a_slices_place_ends_the_run_with_a_sentence(entry: Path, tmp_path: Path) -> None:
    entry.unlink()
    entry.mkdir()
    with pytest.raises(StageError, match=r"cannot be written \(Is a directory\)"):
        ask(tmp_path, Counted())


@pytest.mark.parametrize("at", range(0, 100, 3))
def test_any_flipped_bit_is_found_or_does_not_matter(at: int, entry: Path, tmp_path: Path) -> None:
    flipped(at / 100)(entry)
    _, found = ask(tmp_path, Counted())
    assert same(found)


@given(st.binary(max_size=2000))
def test_no_bytes_are_taken_for_a_slice(raw: bytes) -> None:
    with pytest.raises(Damaged):
        unseal(raw, KEY, FORM)


@given(st.data())
def test_no_mutation_of_a_slice_gives_other_numbers(data: st.DataObject) -> None:
    raw = bytearray(seal(KEY, ARRAYS))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unseal(bytes(raw), KEY, FORM)
    except Damaged:
        return
    assert same(found)


def test_equal_arrays_are_equal_bytes_within_the_bound() -> None:
    turned = {**ARRAYS, "logits": np.asfortranarray(ARRAYS["logits"])}
    assert seal(KEY, ARRAYS) == seal(KEY, turned)
    assert len(seal(KEY, ARRAYS)) <= largest(FORM)
    with np.load(
        io.BytesIO(seal(KEY, ARRAYS)), allow_pickle=False
    ) as kept:  # any reader of .npz files reads it
        assert np.array_equal(kept["right"], ARRAYS["right"])


def test_slices_of_a_finished_stage_are_gone(entry: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.clear("performance")
    assert entry.exists()
    journal.clear("adversarial")
    assert not (tmp_path / "work").exists()


def test_arrays_of_another_form_are_not_kept(tmp_path: Path) -> None:
    ask(tmp_path, lambda: {"right": np.ones(2, bool)})
    assert not (tmp_path / "work").exists()
