"""Layouts of data as people have them: each example of docs/data-formats.md loads, and what is ambiguous is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from safeml.audits.performance.run import _sign_findings
from safeml.cli.data import app
from safeml.config.data import data_settings
from safeml.data import folder, gtsrb
from safeml.data.classes import chosen_classes
from safeml.data.dataset import ImageDataset
from safeml.data.identity import data_identity
from safeml.data.images import read_pixels
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused

DOCS = Path(__file__).parents[2] / "docs" / "data-formats.md"
EXAMPLES = re.findall(r"```text\n(.*?)```\s+```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
# Labels by file number, and class names, of each example in the order of the page.
EXPECTED: list[tuple[list[int], tuple[str, ...]]] = [
    ([0, 1], ("stop", "yield")),
    ([0, 2], ("yield", "no entry", "stop")),
    ([0, 2], ("Stop", "Yield", "No entry")),
    ([0, 2, 1], ("folder 1", "folder 10", "folder 2")),
    ([14, 13], gtsrb.CLASS_NAMES),
    ([0, 1, 1], ("label 1", "label 2")),
    ([1, 0], ("yield", "stop")),
    ([0, 1], ("left", "right")),
]


def picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(path)
    return path


def folders(root: Path, *names: str) -> Path:
    """One image per class folder; its grey value is the position of the name."""
    for index, name in enumerate(names):
        picture(root / name / f"{index}.png", index)
    return root


def loaded(root: Path, **keys: Any) -> ImageDataset:
    return Place(root).plain(data_settings("test", **keys))


@pytest.mark.parametrize(("number", "example"), list(enumerate(EXAMPLES)))
def test_each_example_of_the_page_loads(tmp_path: Path, number: int, example: tuple[str, str]) -> None:
    tree, settings = example
    for line in tree.splitlines():
        name, _, content = line.partition(": ")
        if name.endswith(".png"):
            picture(tmp_path / name, int(Path(name).stem) * 10)
        elif name.endswith(".csv"):
            (tmp_path / name).write_text(content.replace("|", "\n") + "\n")
        else:
            labels = np.array(content.split()[1:], int)
            grey = (np.arange(len(labels)) * 10).astype(np.uint8)[:, None, None, None]
            np.savez(tmp_path / name, images=np.tile(grey, (1, 16, 16, 3)), labels=labels)
    data = loaded(tmp_path, **tomllib.loads(settings))
    labels, names = EXPECTED[number]
    # The grey value is ten times the number of the image in the example.
    read = dict(zip((data.images[:, 0, 0, 0] // 10).tolist(), data.labels.tolist(), strict=True))
    if number == 6:  # the image of the class that is left out
        assert 0 not in read
        read = {image - 1: label for image, label in read.items()}
    assert [read[image] for image in sorted(read)] == labels
    assert data.class_names == names


def test_the_page_has_as_many_examples_as_are_expected() -> None:
    assert len(EXAMPLES) == len(EXPECTED)


# --- folders


@pytest.mark.parametrize("foreign", ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "__pycache__"])
def test_folders_of_the_system_are_no_classes(tmp_path: Path, foreign: str) -> None:
    root = folders(tmp_path, "ahead", "stop")
    (root / foreign).mkdir()
    (root / foreign / "._0.png").write_bytes(b"x")
    (root / "stop" / foreign).mkdir()
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "GT.csv"):
        (root / "stop" / name).write_bytes(b"x")
    data = folder.load(root)
    assert (data.class_names, data.labels.tolist()) == (("ahead", "stop"), [0, 1])


def test_an_empty_folder_among_words_is_a_class_only_if_it_is_listed(tmp_path: Path) -> None:
    root = folders(tmp_path, "stop", "yield")
    (root / "notebooks").mkdir()
    with pytest.raises(ConfigError, match=r"notebooks: holds no images.*list all classes"):
        folder.load(root)
    listed = folder.load(root, class_names=("notebooks", "stop", "yield"))
    assert listed.labels.tolist() == [1, 2]


def test_numbers_and_a_word_are_not_sorted_together(tmp_path: Path) -> None:
    root = folders(tmp_path, "0", "1", "other")
    with pytest.raises(ConfigError, match="2 folders named by numbers and the folder other"):
        folder.load(root)
    assert folder.load(root, class_names=("other", "0", "1")).labels.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"the folder other is not\. Remove label_order"):
        folder.load(root, label_order="numbers")


@pytest.mark.parametrize(
    ("order", "labels", "classes"),
    [("ids", [1, 2, 10], 11), ("numbers", [0, 1, 2], 3), ("text", [0, 2, 1], 3)],
)
def test_numbers_that_are_not_0_to_k_need_an_order(
    tmp_path: Path, order: Any, labels: list[int], classes: int
) -> None:
    root = folders(tmp_path, "1", "2", "10")
    with pytest.raises(ConfigError, match=r'"numbers" if .* "text" if .* "ids" if') as refusal:
        folder.load(root)
    assert "--label-order" in str(refusal.value)
    data = folder.load(root, label_order=order)
    by_image = dict(zip(data.images[:, 0, 0, 0].tolist(), data.labels.tolist(), strict=True))
    assert [by_image[image] for image in range(3)] == labels
    assert data.classes == classes


def test_a_complete_table_from_1_leaves_one_reading(tmp_path: Path) -> None:
    """Ids 1 to 3 in the table and as folders: sorted as numbers or as text, they are the same three classes."""
    root = folders(tmp_path, "1", "3")
    (root / "labels.csv").write_text("ClassId,Name\n1,Stop\n2,Yield\n3,Ahead\n")
    data = folder.load(root)
    assert (data.class_names, data.labels.tolist()) == (("Stop", "Yield", "Ahead"), [0, 2])
    (root / "labels.csv").write_text("ClassId,Name\n" + "".join(f"{k},sign {k}\n" for k in range(1, 12)))
    with pytest.raises(ConfigError, match=r"11 names in labels\.csv; set label_order"):
        folder.load(root)
    assert folder.load(root, label_order="text").class_names[:3] == ("sign 1", "sign 10", "sign 11")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ClassId,Name\n0,Stop\n1,Yield\n", ("Stop", "Yield")),
        ("class_id\tclass_name\n1\tYield\n0\tStop\n", ("Stop", "Yield")),
        ("filename,label\n0.png,0\n", None),
        ("ClassId,Name\n0,a.png\n0,b.png\n", None),
        ("\x00\x01", None),
        ("", None),
    ],
)
def test_a_labels_csv_names_the_classes_or_is_left_unread_with_a_note(
    tmp_path: Path, text: str, names: tuple[str, ...] | None
) -> None:
    root = folders(tmp_path, "0", "1")
    (root / "labels.csv").write_text(text)
    data = folder.load(root)
    assert data.class_names == (names or ("class 0", "class 1"))
    assert [("labels.csv is not read as class names" in note) for note in data.notes] == [True] * (
        names is None
    )


def test_a_documented_table_that_is_damaged_still_stops(tmp_path: Path) -> None:
    root = folders(tmp_path, "0", "1")
    (root / "labels.csv").write_text("ClassId,SignName\n0,Stop\n0,Yield\n")
    with pytest.raises(InputRefused, match=r"labels\.csv:3: class id 0 occurs twice"):
        folder.load(root)


def test_a_folder_above_the_class_folders_is_named(tmp_path: Path) -> None:
    folders(tmp_path / "train", "a", "b")
    with pytest.raises(InputRefused, match=r"If train holds class folders, give .*train as the data"):
        folder.load(tmp_path)


def test_a_flat_folder_with_a_table_is_told_what_to_do(tmp_path: Path) -> None:
    picture(tmp_path / "0.png", 0)
    (tmp_path / "train.csv").write_text("file,label\n0.png,0\n")
    with pytest.raises(ConfigError, match=r"The table train\.csv is not read: move each image"):
        folder.load(tmp_path)


def test_skipped_files_are_counted_in_a_note(tmp_path: Path) -> None:
    root = folders(tmp_path, "a", "b")
    (root / "a" / "bad.png").write_bytes(b"no image")
    assert folder.load(root, max_refused=1).notes == (
        "1 of 3 files are not readable images and were skipped.",
    )


# --- tables


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_kaggle_table_needs_no_boxes(tmp_path: Path, separator: str) -> None:
    picture(tmp_path / "Test" / "00007.png", 0)
    rows = (("ClassId", "Path"), ("3", "Test/00007.png"))
    (tmp_path / "Test.csv").write_text("\n".join(separator.join(row) for row in rows))
    data = gtsrb.load(tmp_path, "test")
    assert (data.labels.tolist(), data.boxes, data.ids.tolist()) == ([3], None, [7])  # type: ignore[union-attr]
    assert data.original_size.tolist() == [[20, 20]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("label,Path", r'has no column ClassId \(did you mean "label"\? Rename it\)'),
        ("class_id,Path", 'did you mean "class_id"'),
        ("ClassId,filename", r'has no column Path \(did you mean "filename"\?'),
        ("ClassId,zzz", "has no column Path; expected a header with ClassId, Path"),
        ("Roi.X1,ClassId,Path", r"has the column Roi\.X1 but not Roi\.Y1"),
    ],
)
def test_other_columns_are_proposed_and_never_taken(tmp_path: Path, header: str, message: str) -> None:
    picture(tmp_path / "Test" / "0.png", 0)
    cells = ["1"] * header.count(",") + ["Test/0.png"]
    (tmp_path / "Test.csv").write_text(f"{header}\n{','.join(cells)}\n")
    with pytest.raises(InputRefused, match=message):
        gtsrb.load(tmp_path, "test")


# --- pixels


def turned_and_transparent(root: Path) -> list[Path]:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, :10] = 200
    plain = Image.fromarray(pixels)
    exif = plain.getexif()
    exif[0x0112] = 3  # upside down: left and right change places
    plain.save(root / "turned.png", exif=exif)
    glass = plain.copy()
    glass.putalpha(Image.fromarray(np.zeros((20, 20), np.uint8)))
    glass.save(root / "glass.png")
    opaque = plain.copy()
    opaque.putalpha(255)
    opaque.save(root / "opaque.png")
    return [root / f"{name}.png" for name in ("turned", "glass", "opaque")]


def test_orientation_and_transparency_are_counted_and_can_be_ignored(tmp_path: Path) -> None:
    paths = turned_and_transparent(tmp_path)
    upright, as_keras = read_pixels(paths, 20), read_pixels(paths, 20, "keras")
    assert [note.split(";")[0] for note in upright.notes] == [
        "1 of 3 images have an EXIF orientation and were turned upright",
        "1 of 3 images have transparent pixels and were composited over mid-grey",
    ]
    assert upright.images[:, 0, 0, 0].tolist() == [0, 128, 200]
    assert as_keras.images[:, 0, 0, 0].tolist() == [200, 200, 200]
    assert all("ignores, as Keras does" in note for note in as_keras.notes)
    assert len(as_keras.notes) == 2


def test_the_pixels_of_decode_keras_are_those_of_keras(tmp_path: Path) -> None:
    """Oracle: what keras.utils.load_img does, which is Image.open(path).convert("RGB")."""
    paths = turned_and_transparent(tmp_path)
    for path, image in zip(paths, read_pixels(paths, 20, "keras").images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))


def test_notes_reach_the_command_line_the_record_and_the_findings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders(tmp_path / "data", "a", "b", "c")
    (tmp_path / "data" / "a" / "0.png").unlink()
    turned_and_transparent(tmp_path / "data" / "a")
    data = loaded(tmp_path, kind="folder", path="data", classes=["a", "c"])
    assert len(data.notes) == 3
    assert data.notes[2].startswith("1 of 5 images are not used")
    assert "(1 of 3): b." in data.notes[2]
    assert caplog.text.count("WARNING") == 3
    assert data_identity("test", data).notes == list(data.notes)
    findings = _sign_findings(data, np.ones(len(data), bool))
    assert [found.message for found in findings if found.code == "data-read"] == list(data.notes)


# --- classes of the model


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("0-2,4", (0, 1, 2, 4)),
        ("3", (3,)),
        ("Stop, No entry", ("Stop", "No entry")),
        ("0,Stop", ("0", "Stop")),
    ],
)
def test_classes_on_the_command_line(text: str, chosen: tuple[str | int, ...]) -> None:
    assert chosen_classes(text) == chosen


@pytest.mark.parametrize("text", ["", "1,,2", "4-2", "0-99999"])
def test_classes_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--classes"):
        chosen_classes(text)


def test_classes_by_id_renumber_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    folders(tmp_path / "data", *(str(k) for k in range(5)))
    data = loaded(tmp_path, kind="folder", path="data", classes=[4, 0, 2])
    assert (data.labels.tolist(), data.class_names) == ([1, 2, 0], ("class 4", "class 0", "class 2"))
    with pytest.raises(ConfigError, match="classes has the id 5; with 5 classes, ids are 0-4"):
        loaded(tmp_path, kind="folder", path="data", classes=[0, 5])
    with pytest.raises(ConfigError, match='names "class 0" twice'):
        loaded(tmp_path, kind="folder", path="data", classes=[0, "class 0"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"kind": "npz", "decode": "keras"},
            'decode is "keras", but only kind = "folder" or "gtsrb" supports it',
        ),
        (
            {"kind": "gtsrb", "label_order": "text"},
            'label_order is "text", but only kind = "folder" or "npz"',
        ),
        ({"kind": "folder", "class_names": ["a", "b"], "class_table": "x.csv"}, "set one of them"),
        ({"kind": "folder", "label_order": "sorted"}, "label_order"),
    ],
)
def test_keys_of_another_kind_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        data_settings("test", path="data", **keys)


def test_preview_reads_by_its_options_and_prints_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path / "data", "1", "2", "10")
    monkeypatch.chdir(tmp_path)
    arguments = ["preview", "folder", "data", "--label-order", "text", "--classes", "2,0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "2 images, 2 classes (0 folder 2; 1 folder 1)" in result.stderr
    assert (tmp_path / "contact_sheet.png").is_file()
