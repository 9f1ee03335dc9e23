"""A function in a limited child: each way of ending has its own name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from safeml.limits import MIB
from safeml.sandbox import Outcome, run_limited

pytestmark = pytest.mark.slow

HERE = "tests.unit.sandboxed"


def run(
    name: str,
    seconds: int = 20,
    memory: int = 128 * MIB,
    files: int = MIB,
    folders: tuple[Path, ...] = (),
    meanwhile: Callable[[], None] = lambda: None,
    **arguments: str,
) -> Outcome:
    limits = {"memory": memory, "seconds": seconds, "files": files}
    return run_limited(f"{HERE}:{name}", arguments, folders=folders, meanwhile=meanwhile, **limits)


def test_a_function_answers() -> None:
    outcome = run("answer", word="hello")
    assert (outcome.kind, outcome.value) == ("ok", {"word": "hello"})


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("refuse", "refused", "holds a Lambda"),
        ("refuse_input", "refused", "m.keras: is empty."),
        ("give_up", "inconclusive", "too much"),
        ("fail", "crashed", "ZeroDivisionError"),
        ("take_memory", "out of memory", "more memory"),
        ("recurse", "inconclusive", "nested too deeply"),
        ("crash", "crashed", "SIGSEGV"),
        ("killed", "out of memory", "more memory"),
        ("leave", "crashed", "it ended with 3"),
        ("write_much", "crashed", ""),
        ("connect", "crashed", "PermissionError"),
        ("start_a_process", "crashed", "PermissionError"),
        ("fork", "crashed", "PermissionError"),
    ],
)
def test_every_other_end_is_typed(name: str, kind: str, reason: str) -> None:
    outcome = run(name)
    assert outcome.kind == kind, outcome
    assert reason in outcome.reason
    assert outcome.value == {}


def test_a_hanging_function_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = run("hang", seconds=2, folders=(tmp_path,), note=str(tmp_path / "pid"))
    assert outcome.kind == "timeout"
    assert "2 seconds" in outcome.reason
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_work_meanwhile_neither_hides_an_answer_nor_lengthens_the_limit(tmp_path: Path) -> None:
    assert run("answer", seconds=3, meanwhile=lambda: time.sleep(3.5), word="hello").kind == "ok"
    began = time.monotonic()
    outcome = run(
        "hang", seconds=2, folders=(tmp_path,), meanwhile=lambda: time.sleep(2.5), note=str(tmp_path / "pid")
    )
    assert outcome.kind == "timeout"
    assert time.monotonic() - began < 5


def test_an_error_meanwhile_ends_the_child(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def failing() -> None:
        while not note.exists() or not note.read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("hang", folders=(tmp_path,), meanwhile=failing, note=str(note))
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_what_is_printed_is_not_taken_for_the_answer() -> None:
    outcome = run("chatter")
    assert (outcome.kind, outcome.value) == ("ok", {"said": "nothing"})


def test_the_child_sees_an_empty_folder_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    value = run("look_around").value
    assert value["files"] == 0
    assert value["secret"] == "absent"
    assert value["home"] != str(Path.home())


def test_the_child_reads_and_writes_only_what_it_is_given(tmp_path: Path) -> None:
    given, secret = tmp_path / "given", tmp_path / "secret"
    for folder in (given, secret):
        folder.mkdir()
        (folder / "note").write_text("hello")
    if not run("answer", word="x").confined:
        pytest.skip("this system has no Landlock, so the child is not confined (the report says so)")
    assert run("read_and_write", folders=(given,), folder=str(given)).value == {"read": "hello"}
    assert (given / "written").read_text() == "hello"
    outcome = run("read_and_write", folders=(given,), folder=str(secret))
    assert outcome.kind == "crashed"
    assert "PermissionError" in outcome.reason
    assert run("write", folders=(given,), folder=str(secret)).kind == "crashed"
    assert not (secret / "written").exists()


def test_a_child_without_the_right_to_write_leaves_no_byte(tmp_path: Path) -> None:
    """This is how a graph is loaded first."""
    outcome = run("write", files=0, folders=(tmp_path,), folder=str(tmp_path))
    assert outcome.kind == "crashed"
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0


def test_threads_that_were_started_later_are_confined_too(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    if not run("answer", word="x").confined:
        pytest.skip("this system has no Landlock, so the child is not confined (the report says so)")
    assert run("read_in_a_thread", folder=str(tmp_path)).value == {"read": "PermissionError"}
