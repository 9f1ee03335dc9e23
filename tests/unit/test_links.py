"""Files behind links: the same on every version of Python."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from safeml.links import resolved


def test_a_link_leads_to_its_file_whether_it_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("middle")
    (tmp_path / "middle").symlink_to("file")
    assert resolved(tmp_path / "link") == tmp_path.resolve() / "file"
    (tmp_path / "file").touch()
    assert resolved(tmp_path / "link") == tmp_path.resolve() / "file"
    assert resolved(tmp_path / "absent" / ".." / "file") == tmp_path.resolve() / "file"


@pytest.mark.parametrize("asked", ["loop", "there", "loop/file.png", "loop/../loop"])
def test_a_loop_is_an_error(tmp_path: Path, asked: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").symlink_to("back")
    (tmp_path / "back").symlink_to("there")
    with pytest.raises(OSError, match="links") as caught:
        resolved(tmp_path / asked)
    assert caught.value.errno == errno.ELOOP
