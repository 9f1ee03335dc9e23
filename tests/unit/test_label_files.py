"""Label files: dialects, bad cells, class tables, boxes and track numbers."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.data.annotations import read_rows, scale_boxes, track_numbers
from safeml.data.classes import read_class_table
from safeml.data.images import resolve_inside
from safeml.errors import InputRefused


@pytest.mark.parametrize("separator", [";", ","])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_dialects_read_the_same(tmp_path, separator, line_end, mark):
    file = tmp_path / "a.csv"
    file.write_bytes(
        (mark + line_end.join(separator.join(row) for row in (("a", "b"), ("1", "2"))) + line_end).encode()
    )
    (row,) = read_rows(file, ("a", "b"))
    assert (row.integer("a"), row.integer("b"), row.where) == (1, 2, f"{file}:2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a;b\n1;2;3\n", r"a\.csv:2: has 3 cells; the header has 2"),
        (b"a;b\n1;2\n1\n", r"a\.csv:3: has 1 cells"),
        (b"a;c\n1;2\n", r"a\.csv:1: has no column b"),
        (b"a;b;a\n1;2;3\n", "names a column twice"),
        (b"a;b\n", "no rows below its header"),
        (b"", "has no column a"),
        (b"a;b\n\xff;2\n", "not UTF-8"),
        ("a;b\n1;2\n".encode("utf-16"), "not UTF-8"),
        (b'a;b\n"1;2\n', r"a\.csv:2: is not valid CSV"),
        (b"a;b\n1;2\n" + b"1" * 200_000 + b";2\n", r"a\.csv:3: is not valid CSV \(field larger"),
        (b"a;b\n=1+1;2\n", r"a\.csv:2: a is =1\+1; expected a whole number"),
        (b"a;b\n1\x00;2\n", "a.csv"),
    ],
)
def test_bad_csv_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(InputRefused, match=message):
        [row.integer("a") for row in read_rows(tmp_path / "a.csv", ("a", "b"))]


def test_a_quoted_line_break_is_part_of_its_cell(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'a;b\n"one\ntwo";2\nx;3\n')
    rows = read_rows(tmp_path / "a.csv", ("a", "b"))
    assert [(row.cells["a"], row.integer("b")) for row in rows] == [("one\ntwo", 2), ("x", 3)]
    assert rows[1].where.endswith("a.csv:4")  # the line of an editor


@pytest.mark.parametrize("cell", ["-1", "1.5", "", "1_0", "x", "nan", "9" * 30])
def test_a_cell_that_is_no_whole_number_is_refused(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"a;b\n{cell};2\n")
    (row,) = read_rows(tmp_path / "a.csv", ("a",))
    with pytest.raises(InputRefused, match=r"a\.csv:2: a is "):
        row.integer("a")


def test_a_class_table_gives_each_id_once(tmp_path):
    (tmp_path / "a.csv").write_text("ClassId,SignName\n1,b\n0,a\n")
    assert read_class_table(tmp_path / "a.csv") == {0: "a", 1: "b"}
    (tmp_path / "a.csv").write_text("class_id\tName\tcolour\n2\tb\tred\n1\ta\tblue\n")
    assert list(read_class_table(tmp_path / "a.csv").items()) == [(1, "a"), (2, "b")]
    (tmp_path / "a.csv").write_text("ClassId,SignName\n0,b\n0,a\n")
    with pytest.raises(InputRefused, match="occurs twice"):
        read_class_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("filename,label\n0.png,0\n")
    with pytest.raises(
        InputRefused, match=r"a\.csv:1: has the columns filename, label; expected one column ClassId"
    ):
        read_class_table(tmp_path / "a.csv")


def test_boxes_scale_with_their_images():
    scaled = scale_boxes(np.array([[10, 5, 30, 15]]), np.array([[20, 40]]), 32, 32, "x")
    np.testing.assert_allclose(scaled, [[8, 8, 24, 24]])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, 0, 41, 9), (0, 0, 9, 21), (-1, 0, 9, 9)])
def test_boxes_outside_their_images_are_refused(box):
    with pytest.raises(InputRefused, match="region of interest of image 0"):
        scale_boxes(np.array([box]), np.array([[20, 40]]), 32, 32, "x")


def test_track_numbers_of_two_classes_never_meet():
    labels, tracks = np.repeat(np.arange(43), 100), np.tile(np.arange(100), 43)
    assert len(np.unique(track_numbers(labels, tracks, "x"))) == 4300
    with pytest.raises(InputRefused, match="track numbers are outside"):
        track_numbers(np.array([0]), np.array([-1]), "x")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "link/secret.png"])
def test_label_files_cannot_point_out_of_the_folder(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    with pytest.raises(InputRefused, match="is outside the data folder"):
        resolve_inside(tmp_path / "data", name)
    assert resolve_inside(tmp_path / "data", "a/b.png") == (tmp_path / "data" / "a" / "b.png").resolve()
