"""Loaders against files that the tests write themselves, against damage, and against the real GTSRB where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safeml.data import gtsrb, npz
from safeml.data.annotations import track_numbers
from safeml.data.classes import read_class_table
from safeml.data.images import read_pixels
from safeml.data.load import LOADERS, load_dataset, options_of
from safeml.data.signs import CLASS_NAMES, CRITICAL_CLASSES, FAMILIES, families
from safeml.errors import ConfigError, InputRefused
from tests.data_files import class_folders, noise, save, write_npz

REPOSITORY = Path(__file__).resolve().parents[2]


HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def shared(name: str) -> Path:
    """A folder of the shared data, or a skip that says what is absent."""
    path = Path(os.environ.get("SAFEML_SHARED", REPOSITORY.parent / "shared")) / "data" / name
    if not path.is_dir():
        pytest.skip(f"the shared data folder {name} is not on this machine (set SAFEML_SHARED)")
    return path


def official_training(root: Path, line_end: str = "\n", mark: str = "") -> Path:
    """Two classes, two tracks each, two frames each; track numbers restart in each class."""
    for label in (0, 7):
        images = root / "GTSRB" / "Final_Training" / "Images" / f"{label:05d}"
        rows = [HEADER]
        for track in (0, 1):
            for frame in (0, 1):
                name = f"{track:05d}_{frame:05d}.ppm"
                save(images / name, noise(40, 50, seed=100 * label + 10 * track + frame))
                rows.append(f"{name};50;40;5;4;45;36;{label}")
        (images / f"GT-{label:05d}.csv").write_bytes((mark + line_end.join(rows) + line_end).encode())
    return root


def official_test(root: Path) -> Path:
    images = root / "GTSRB" / "Final_Test" / "Images"
    rows = [HEADER]
    for number, label in ((6, 18), (88, 22)):
        save(images / f"{number:05d}.ppm", noise(30, 30, seed=number))
        rows.append(f"{number:05d}.ppm;30;30;5;5;25;25;{label}")
    (images / gtsrb.UNLABELLED).write_text("\n".join(row.rpartition(";")[0] for row in rows))
    (root / gtsrb.TEST_LABELS).write_text("\n".join(rows))
    return root


def test_sign_facts_cover_the_43_classes():
    assert len(CLASS_NAMES) == len(FAMILIES) == len(set(CLASS_NAMES)) == 43
    assert all(
        FAMILIES[CLASS_NAMES.index(f"Speed limit ({speed}km/h)")] == "speed limit"
        for speed in (20, 30, 50, 60, 70, 80, 100, 120)
    )
    assert FAMILIES.count("speed limit") == 8
    assert all(
        (family == "end of restriction") == name.startswith("End of")
        for name, family in zip(CLASS_NAMES, FAMILIES, strict=True)
    )
    assert set(CRITICAL_CLASSES) < set(CLASS_NAMES)
    assert families(("Stop", "Yield")) == ("right of way", "right of way")
    assert families(("Stop", "class 1")) is None


def test_class_names_equal_the_published_list():
    assert tuple(read_class_table(shared("gtsrb") / "labels.csv").values()) == CLASS_NAMES


@pytest.mark.parametrize(("line_end", "mark"), [("\n", ""), ("\r\n", "\ufeff")])
def test_official_training_layout(tmp_path, line_end, mark):
    dataset = gtsrb.load(official_training(tmp_path, line_end, mark), "train", size=25)
    assert dataset.labels.tolist() == [0] * 4 + [7] * 4
    assert dataset.class_names == CLASS_NAMES
    assert dataset.tracks is not None
    assert len(np.unique(dataset.tracks)) == 4
    np.testing.assert_allclose(dataset.boxes, np.tile([2.5, 2.5, 22.5, 22.5], (8, 1)))
    np.testing.assert_array_equal(dataset.original_size, np.tile([40, 50], (8, 1)))
    expected = Image.fromarray(noise(40, 50, seed=711)).resize((25, 25), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.images[-1], np.asarray(expected))


@pytest.mark.parametrize("inner", ["", "GTSRB"])
def test_the_folder_above_or_itself_may_be_given(tmp_path, inner):
    official_test(official_training(tmp_path))
    assert len(gtsrb.load(tmp_path / inner, "train")) == 8
    assert len(gtsrb.load(tmp_path / inner, "test")) == 2


@pytest.mark.parametrize("place", [".", "GTSRB", "GTSRB/Final_Test", "GTSRB/Final_Test/Images"])
def test_test_labels_may_lie_beside_or_above_the_images(tmp_path, place):
    official_test(tmp_path)
    (tmp_path / gtsrb.TEST_LABELS).rename(tmp_path / place / gtsrb.TEST_LABELS)
    dataset = gtsrb.load(tmp_path, "test")
    assert dataset.labels.tolist() == [18, 22]
    assert dataset.tracks is None
    assert dataset.ids is not None
    assert dataset.ids.tolist() == [6, 88]


def test_the_unlabelled_test_csv_is_not_taken_for_labels(tmp_path):
    official_test(tmp_path)
    (tmp_path / gtsrb.TEST_LABELS).unlink()
    with pytest.raises(InputRefused, match="has no ClassId and is not labels"):
        gtsrb.load(tmp_path, "test")


def kaggle(
    root: Path, path: str = "Train/20/00020_00003_00000.png", width: int = 30, label: int = 20
) -> Path:
    save(root / "Train/20/00020_00003_00000.png", noise(30, 30))
    head = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"
    (root / "Train.csv").write_text(f"{head}\n{width},30,5,5,25,25,{label},{path}\n")
    return root


def test_kaggle_layout_numbers_tracks_like_the_official_one(tmp_path):
    dataset = gtsrb.load(kaggle(tmp_path), "train")
    assert dataset.tracks is not None
    assert dataset.tracks.tolist() == track_numbers(np.array([20]), np.array([3]), "x").tolist()
    assert dataset.labels.tolist() == [20]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 43}, r"Train\.csv:2: class id 43 is out of range; there are 43 classes, so ids are 0-42"),
        ({"width": 31}, r"Train\.csv:2: says 31 x 30 pixels, but 00020_00003_00000\.png has 30 x 30"),
        ({"path": "../a.png"}, "is outside the data folder"),
        ({"path": "Train/20/00020_00004_00000.png"}, "1 images have no label"),
        ({"path": "Train/20/x.png"}, "1 images have no label"),
    ],
)
def test_labels_that_do_not_fit_the_files_are_refused(tmp_path, change, message):
    with pytest.raises(InputRefused, match=message):
        gtsrb.load(kaggle(tmp_path, **change), "train")


def test_a_cut_label_file_is_noticed(tmp_path):
    official_training(tmp_path)
    labels = tmp_path / "GTSRB/Final_Training/Images/00007/GT-00007.csv"
    labels.write_text("\n".join(labels.read_text().splitlines()[:-1]))
    with pytest.raises(InputRefused, match=r"1 images have no label, first 00001_00001\.ppm"):
        gtsrb.load(tmp_path, "train")
    (labels.parent / "00000_loop.ppm").symlink_to("00000_loop.ppm")  # of the same suffix, and no image
    with pytest.raises(InputRefused, match=r"2 images have no label, first 00000_loop\.ppm"):
        gtsrb.load(tmp_path, "train")


def test_a_class_folder_with_another_class_inside_is_refused(tmp_path):
    official_training(tmp_path)
    labels = tmp_path / "GTSRB/Final_Training/Images/00007/GT-00007.csv"
    labels.write_text(labels.read_text().replace(";36;7", ";36;8", 1))
    with pytest.raises(InputRefused, match=r"GT-00007\.csv:2: class id 8 is in the folder 00007"):
        gtsrb.load(tmp_path, "train")


def test_validation_comes_from_whole_training_tracks(tmp_path):
    official_training(tmp_path)
    train, valid = (gtsrb.load(tmp_path, split, valid_fraction=0.5) for split in ("train", "valid"))
    assert len(train) == len(valid) == 4
    assert not set(train.tracks) & set(valid.tracks)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="publishes no validation set"):
        gtsrb.load(tmp_path, "valid")


def test_frames_are_numbered_within_their_track(tmp_path):
    dataset = gtsrb.load(official_training(tmp_path / "g"), "train")
    assert dataset.frames.tolist() == [0, 1] * 4
    numbered = load_dataset("npz", write_npz(tmp_path / "a.npz", frame_id=np.array([4, 3, 0, 1, 2, 5])))
    assert numbered.frames.tolist() == [4, 3, 0, 1, 2, 5]
    assert numbered.take(np.array([5, 0])).frames.tolist() == [5, 4]
    plain = load_dataset("npz", write_npz(tmp_path / "b.npz"))
    assert plain.frames is None
    assert plain.fingerprint == numbered.fingerprint
    with pytest.raises(InputRefused, match="frame_id"):
        load_dataset("npz", write_npz(tmp_path / "c.npz", frame_id=np.full(6, 0.5)))


def test_absent_layouts_and_bad_settings_are_configuration_errors(tmp_path):
    for split, options in (
        ("train", {}),
        ("test", {}),
        ("dev", {}),
        ("train", {"size": 0}),
        ("train", {"valid_fraction": 1.0}),
    ):
        with pytest.raises(ConfigError):
            gtsrb.load(tmp_path, split, **options)


def test_load_dataset_reaches_every_file_loader(tmp_path):
    assert len(load_dataset("npz", write_npz(tmp_path / "a.npz"), frames_per_sign=2)) == 6
    assert len(load_dataset("gtsrb", official_training(tmp_path / "g"), split="train")) == 8
    assert len(load_dataset("folder", class_folders(tmp_path / "f", ("a",)), size=8)) == 2
    assert set(LOADERS) == {"gtsrb", "npz", "folder", "rendered"}
    assert "split" in options_of("gtsrb")


@pytest.mark.parametrize(
    ("kind", "path", "options", "message"),
    [
        ("gtrsb", "x", {}, 'data kind "gtrsb" is unknown; did you mean "gtsrb"?'),
        ("zzz", "x", {}, "known are gtsrb, npz, folder, rendered"),
        ("npz", "x", {"split": "test"}, "has no option split"),
        ("npz", "", {}, "requires path, which is missing"),
        ("gtsrb", "x", {}, "requires split, which is missing"),
        ("npz", "absent.npz", {}, "does not exist"),
        ("npz", "a.npz", {"class_names": ("a", " ")}, "empty or repeat"),
        ("npz", "a.npz", {"class_names": ("a", "a")}, "empty or repeat"),
        (
            "npz",
            "a.npz",
            {"class_names": ("a", "\udcff")},
            r"the name of class 1 is not Unicode text ('\udcff')",
        ),
    ],
)
def test_load_dataset_names_what_is_wrong(kind, path, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "a.npz")
    with pytest.raises(ConfigError) as raised:
        load_dataset(kind, path, **options)
    assert message in str(raised.value)


@pytest.mark.parametrize("kind", ["npz", "folder", "gtsrb"])
def test_what_the_system_cannot_open_is_one_sentence(kind, tmp_path, monkeypatch):
    options = {"split": "train"} if kind == "gtsrb" else {}
    with pytest.raises(InputRefused, match=r"cannot be read \(File name too long\)"):
        load_dataset(kind, tmp_path / ("n" * 300), **options)

    def closed(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(InputRefused, match=r"f: cannot be read \(Permission denied\)"):
        load_dataset("folder", class_folders(tmp_path / "f", ("a",)))


def test_a_loop_of_links_and_a_pipe_are_one_sentence(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for kind in ("npz", "folder"):
        with pytest.raises(ConfigError, match=r"loop: (is not a file|does not exist); expected"):
            load_dataset(kind, tmp_path / "loop")
    root = class_folders(tmp_path / "set", ("a",))
    (root / "a" / "c.png").symlink_to("c.png")
    with pytest.raises(InputRefused, match="cannot be resolved"):
        load_dataset("folder", root)
    (root / "a" / "c.png").unlink()
    os.mkfifo(root / "a" / "d.png")  # a reader would wait for it
    with pytest.raises(InputRefused, match=r"1 of 3 files are not readable images.*d\.png"):
        load_dataset("folder", root)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ConfigError, match=r"pipe\.npz: is not a file; expected an \.npz file"):
        load_dataset("npz", tmp_path / "pipe.npz")


@pytest.mark.parametrize("name", ["a b", 'quo"te', "a\nb", "-rf", "=1+1", "\u4e2d", "x" * 200])
def test_folders_of_any_name_are_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset("folder", class_folders(Path(name), (name, "~")))
    assert (dataset.name, set(dataset.class_names)) == (name, {name, "~"})
    assert len(dataset) == 4


def test_a_folder_that_is_not_named_in_utf_8_has_a_name_that_results_can_hold(tmp_path):
    root = tmp_path / os.fsdecode(b"data\xff")
    assert load_dataset("folder", class_folders(root, ("a", "b"))).name == "data?"
    with pytest.raises(ConfigError, match="not Unicode"):
        load_dataset("folder", class_folders(root, (os.fsdecode(b"c\xff"),)))


@pytest.mark.slow
def test_the_real_npz_files_hold_what_their_readme_says():
    root = shared("gtsrb")
    valid, test = npz.load(root / "valid.npz"), npz.load(root / "test.npz")
    train = npz.load(root / "train.npz")
    assert (len(train), len(valid), len(test)) == (34469, 4740, 6315)
    assert train.tracks is not None
    assert valid.tracks is not None
    assert (len(np.unique(train.tracks)), len(np.unique(valid.tracks))) == (1149, 158)
    assert not np.intersect1d(train.tracks, valid.tracks).size
    assert train.class_names == valid.class_names == test.class_names == CLASS_NAMES
    assert test.tracks is None
    sample = gtsrb.load(shared("gtsrb_official_layout_sample"), "train")
    assert sample.tracks is not None
    assert (len(sample), len(np.unique(sample.tracks))) == (430, 86)
    # Ten frames a class (2, 8, 14, 20, 26 of two tracks): the same sign, frame and pixels in both sources.
    with np.load(root / "train.npz") as arrays:
        frames = arrays["frame_id"]
    where = {
        (int(track), int(frame)): row
        for row, (track, frame) in enumerate(zip(train.tracks, frames, strict=True))
    }
    rows = [where[int(track), (2, 8, 14, 20, 26)[index % 5]] for index, track in enumerate(sample.tracks)]
    np.testing.assert_array_equal(train.images[rows], sample.images)
    np.testing.assert_array_equal(train.original_size[rows], sample.original_size)  # type: ignore[index]
    np.testing.assert_allclose(train.boxes[rows], sample.boxes)  # type: ignore[index]


def test_the_official_test_sample_equals_the_real_npz():
    test = npz.load(shared("gtsrb") / "test.npz")
    sample = gtsrb.load(shared("gtsrb_official_layout_sample"), "test")
    assert len(sample) == 215
    rows = np.searchsorted(test.ids, sample.ids)  # type: ignore[type-var]
    np.testing.assert_array_equal(test.ids[rows], sample.ids)  # type: ignore[index]
    np.testing.assert_array_equal(test.images[rows], sample.images)
    np.testing.assert_array_equal(test.labels[rows], sample.labels)


def test_read_pixels_refuses_more_than_the_limits():
    with pytest.raises(InputRefused, match="are too many"):
        read_pixels([Path("x")] * 1000, 4096)
