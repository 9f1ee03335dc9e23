"""A file that is whole or not there: one function writes every file of the device."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from safeml.edge.durable import PART, write_whole
from safeml.edge.errors import DiskError, EdgeError


def test_a_file_gets_its_content_and_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(str(tmp_path / "a"), b"old")
    write_whole(str(tmp_path / "a"), b"new", 0o600)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    monkeypatch.chdir(tmp_path)
    write_whole("beside", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "beside"]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(
        DiskError, match=r"a: cannot be written \(No space left on device\); free space"
    ) as caught:
        write_whole(str(path), b"new")
    monkeypatch.undo()
    assert isinstance(caught.value, EdgeError)
    assert isinstance(caught.value, OSError)
    assert caught.value.strerror == "No space left on device"
    assert path.read_bytes() == b"old"
    assert not (tmp_path / ("a" + PART)).exists()


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written"):
        write_whole(str(tmp_path / "none" / "a"), b"x")
