"""The loader of a folder per class."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.data import folder
from safeml.errors import ConfigError, InputRefused
from tests.data_files import class_folders, noise, save


def test_folder_classes_by_name_or_number(tmp_path):
    named = folder.load(class_folders(tmp_path / "named", ("yield", "stop")), size=8)
    assert named.class_names == ("stop", "yield")
    assert named.images[:, 0, 0, 0].tolist() == [1, 1, 0, 0]
    assert named.images.shape == (4, 8, 8, 3)
    numbered = folder.load(class_folders(tmp_path / "numbered", tuple(str(k) for k in range(11))))
    assert numbered.labels.tolist() == np.repeat(np.arange(11), 2).tolist()  # 10 after 9, not after 1
    assert numbered.images[::2, 0, 0, 0].tolist() == list(range(11))


def test_folder_class_names_give_the_order_of_the_outputs(tmp_path):
    root = class_folders(tmp_path, ("yield", "stop"))
    dataset = folder.load(root, class_names=("yield", "bump", "stop"))
    assert dataset.labels.tolist() == [0, 0, 2, 2]
    assert dataset.images[::2, 0, 0, 0].tolist() == [0, 1]  # yield was drawn with 0, stop with 1
    with pytest.raises(ConfigError, match="folder yield is not one of the 2 class names"):
        folder.load(root, class_names=("bump", "stop"))


def test_numbered_folders_with_a_gap_are_not_renumbered(tmp_path):
    root = class_folders(tmp_path, ("0", "2"))
    with pytest.raises(ConfigError, match=r"has 2 folders, folders 0 to 2; set label_order"):
        folder.load(root)
    (root / "labels.csv").write_text("ClassId,SignName\n0,a\n1,b\n2,c\n")
    assert folder.load(root).labels.tolist() == [0, 0, 2, 2]
    class_folders(root, ("00",))
    with pytest.raises(ConfigError, match="two folders have the same class id"):
        folder.load(root)


def test_unreadable_files_are_counted_named_and_left_out_only_when_allowed(tmp_path, caplog):
    root = class_folders(tmp_path, ("a", "b"))
    (root / "a" / "bad.png").write_bytes(b"no image")
    (root / "b" / "odd.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        InputRefused, match=r"2 of 6 files are not readable images \(allowed: 0\); first: .*bad\.png"
    ):
        folder.load(root)
    with pytest.raises(InputRefused, match=r"allowed: 1"):
        folder.load(root, max_refused=1)
    dataset = folder.load(root, max_refused=2)
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert "bad.png" in caplog.text
    assert "odd.gif" in caplog.text


def test_folder_links_and_nesting_are_refused(tmp_path):
    outside = save(tmp_path / "outside.png", noise(4, 4))
    root = class_folders(tmp_path / "set", ("a",))
    (root / "a" / "c.png").symlink_to(outside)
    with pytest.raises(InputRefused, match="is outside"):
        folder.load(root)
    (root / "a" / "c.png").unlink()
    (root / "a" / "deeper").mkdir()
    with pytest.raises(InputRefused, match="folder in a class folder"):
        folder.load(root)
    with pytest.raises(ConfigError, match="does not exist"):
        folder.load(tmp_path / "none")
