"""The .npz loader: columns, class names, unsound and damaged files."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeml.data import npz
from safeml.errors import InputRefused, SafemlError
from safeml.limits import Limits
from tests.data_files import write_npz


def test_npz_keeps_every_column(tmp_path):
    dataset = npz.load(write_npz(tmp_path / "set.npz", file_index=np.arange(6) * 7))
    assert dataset.name == "set"
    assert dataset.class_names == ("class 0", "class 1")
    assert dataset.tracks is not None
    assert len(np.unique(dataset.tracks)) == 4
    np.testing.assert_allclose(dataset.boxes, np.tile([2, 2, 6, 6], (6, 1)))
    np.testing.assert_array_equal(dataset.original_size, np.tile([20, 40], (6, 1)))
    np.testing.assert_array_equal(dataset.ids, np.arange(6) * 7)


def test_npz_class_names_by_precedence(tmp_path):
    (tmp_path / "labels.csv").write_text("ClassId,SignName\n0,Stop\n1,Yield\n2,No entry\n")
    assert npz.load(write_npz(tmp_path / "a.npz")).class_names == ("Stop", "Yield", "No entry")
    assert npz.load(write_npz(tmp_path / "b.npz", class_names=np.array(["x", "y"]))).class_names == ("x", "y")
    assert npz.load(tmp_path / "b.npz", class_names=("p", "q")).class_names == ("p", "q")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": np.linspace(0, 0.5, 6 * 192, dtype=np.float32).reshape(6, 8, 8, 3)},
            r"float32 from 0 to 0\.5; expected uint8",
        ),
        ({"images": np.full((6, 8, 8, 3), np.nan)}, "not finite"),
        ({"images": np.zeros((6, 8, 8), np.uint8)}, r"expected uint8 \[N, H, W, 1 or 3\]"),
        ({"images": np.zeros((6, 0, 8, 3), np.uint8)}, "with pixels"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "rows"),
        ({"labels": np.arange(5)}, "labels has 5 rows; there are 6 images"),
        ({"labels": np.zeros(6)}, "labels is float64"),
        ({"labels": np.array([0, 0, 0, 0, 0, -1])}, "class id -1"),
        ({"labels": None, "lables": np.zeros(6, int)}, 'has no array labels; rename "lables"'),
        ({"labels": np.array([{}] * 6, object)}, "never pickled data"),
        ({"labels": np.zeros(6, [("a", int)])}, "never pickled data"),
        ({"labels": np.array(3)}, "labels has no rows"),
        ({"labels": np.full(6, 10**9)}, "the limit is 10,000 classes"),
        ({"track_id": np.zeros((6, 2), int)}, "track_id is int64"),
        ({"track_id": np.full(6, -1)}, "track numbers are outside"),
        ({"file_index": np.array([4, 1, 2, 3, 4, 5])}, "file_index has 4 more than once"),
        ({"file_index": np.arange(6) - 1}, "file_index has -1"),
        ({"width": None}, "roi is in pixels of the original images"),
        ({"width": np.zeros(6, int)}, "width or height is outside"),
        ({"roi": np.tile([30, 5, 10, 15], (6, 1))}, "region of interest of image 0"),
        ({"class_names": np.array([1, 2])}, "expected text"),
    ],
)
def test_unsound_npz_is_refused(tmp_path, changes, message):
    with pytest.raises(InputRefused, match=message):
        npz.load(write_npz(tmp_path / "a.npz", **changes))


def test_npz_bounds_hold_before_reading(tmp_path):
    bomb = write_npz(tmp_path / "a.npz", images=np.zeros((6, 500, 500, 3), np.uint8))
    assert bomb.stat().st_size < 50_000
    with pytest.raises(InputRefused, match=r"declares 4,50\d,\d+ bytes of arrays; the limit is 1,000,000"):
        npz.read_arrays(bomb, Limits(array_bytes=1_000_000))
    with pytest.raises(InputRefused, match="has 6 images; the limit is 5"):
        npz.read_arrays(bomb, Limits(images=5))
    with pytest.raises(InputRefused, match="entries"):
        npz.read_arrays(bomb, Limits(array_members=3))


def npy(shape: str, payload: bytes, descr: str = "|u1") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(2, 1000000000000)", "(-3, -4)", "(6, 8, 8, 4)"])
def test_headers_that_declare_more_than_is_stored_are_refused(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy(shape, bytes(6 * 192)))
        archive.writestr("labels.npy", npy("(6,)", bytes(6)))
    with pytest.raises(InputRefused, match="damaged or hostile"):
        npz.load(tmp_path / "a.npz")


def test_a_header_of_version_3_is_refused(tmp_path):
    """Only a structured type needs one, and those are refused."""
    first = npy("(6,)", bytes(6))
    third = first[:6] + b"\x03\x00" + struct.pack("<I", len(first) - 16) + first[10:]
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy("(6, 8, 8, 3)", bytes(6 * 192)))
        archive.writestr("labels.npy", third)
    with pytest.raises(InputRefused, match=r"labels has format version 3\.0; expected 1\.0 or 2\.0"):
        npz.load(tmp_path / "a.npz")


def test_the_order_of_bytes_and_axes_changes_no_value(tmp_path):
    usual = npz.load(write_npz(tmp_path / "set.npz"))
    changes = {
        "images": np.asfortranarray(usual.images),
        "labels": usual.labels.astype(">i4"),
        "width": np.full(6, 40, ">u2"),
    }
    other = npz.load(write_npz(tmp_path / "other.npz", **changes))
    np.testing.assert_array_equal(other.images, usual.images)
    assert (other.fingerprint, other.labels.dtype) == (usual.fingerprint, np.int64)
    np.testing.assert_array_equal(other.original_size, usual.original_size)


def test_an_array_named_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy("(6, 8, 8, 3)", bytes(6 * 192)))
        archive.writestr("labels.npy", npy("(6,)", bytes(6)))
        archive.writestr("labels", npy("(6,)", bytes(6)))
    with pytest.raises(InputRefused, match="holds an array twice"):
        npz.load(tmp_path / "a.npz")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_npz_bytes_are_read_or_refused_never_a_crash(tmp_path, data):
    sound = write_npz(tmp_path / "sound.npz").read_bytes()
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npz").write_bytes(damaged[: data.draw(st.integers(len(sound) // 2, len(sound)))])
    try:
        dataset = npz.load(tmp_path / "a.npz")
    except SafemlError:
        return
    # The archive's check sums guard the pixels: what is read is what was written.
    np.testing.assert_array_equal(dataset.images, npz.load(tmp_path / "sound.npz").images)
