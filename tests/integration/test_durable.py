"""Runs that are killed, interrupted, repeated, doubled or pointed at the wrong folder: the evidence is whole or absent.

They audit a toy in NumPy (`tests.toy`), because a process that starts a framework takes ten times as long. The same of an
audit with compiled attacks is in `test_durable_audit`; that each stage resumes at every slice, in `tests/fault/test_slices`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from safeml.errors import ConfigError
from safeml.results import RunTimes
from safeml.store.files import read_run, read_times
from safeml.store.lock import LOCK
from safeml.store.run_folder import refuse_other_run
from tests.fault.faulty_os import temporary_files
from tests.toy.project import finish, start, write_toy

pytestmark = pytest.mark.slow

# Slices kept when a run is killed: in both kinds of work, at their ends and inside.
MOMENTS = (1, 5, 10, 11, 17)
SLICES = 20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project, and the run of it that nothing disturbed, in `whole`."""
    folder = tmp_path_factory.mktemp("durable")
    write_toy(folder)
    done = finish(folder, "whole")
    assert done.returncode == 1, done.stderr
    return folder


def evidence(folder: Path) -> bytes:
    """results.json, but for the folder's name in the recorded command."""
    return (folder / "results.json").read_bytes().replace(f'"{folder.name}"'.encode(), b'"FOLDER"')


def times(folder: Path) -> RunTimes:
    found = read_times(folder)
    assert found is not None
    return found


def check_whole(project: Path, folder: Path) -> None:
    assert evidence(folder) == evidence(project / "whole")
    assert temporary_files(folder) == []
    assert not (folder / LOCK).exists()
    assert not (folder / "work").exists()
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        assert (folder / line[66:]).is_file()


def slices(folder: Path) -> int:
    """How many slices of the toy stage an unfinished run has kept."""
    return len(list(folder.glob("work/toy/*.npz")))


def holds_lock(folder: Path) -> bool:
    """Whether a run has said in the lock of the folder who it is."""
    lock = folder / LOCK
    return lock.exists() and lock.stat().st_size > 0


def kill(project: Path, out: str, ripe: Callable[[], bool]) -> int:
    """Start a run, and kill it as soon as it is `ripe`; its return code."""
    process = start(project, out)
    try:
        while process.poll() is None and not ripe():
            time.sleep(0.002)
    finally:
        process.kill()
    process.communicate(timeout=120)
    return process.returncode


def test_kill_9_in_every_kind_of_work_changes_no_byte(project: Path) -> None:
    """One folder: run after run is killed at a later slice, and goes on from where the one before was."""
    folder = project / "kills"
    for moment in MOMENTS:
        assert kill(project, "kills", lambda moment=moment: slices(folder) >= moment) == -signal.SIGKILL
        assert moment <= slices(folder) < SLICES
    assert finish(project, "kills").returncode == 1
    check_whole(project, folder)
    resume = times(folder).resume
    assert resume.slices >= MOMENTS[-1]
    assert resume.stages == ["model", "training", "performance", "calibration", "balance"]
    assert resume.interrupted
    assert resume.recomputed == []
    page = (folder / "index.html").read_text()
    assert "An earlier run that began" in page
    assert "were read back" in page


def test_kill_9_before_anything_is_kept_changes_no_byte(project: Path) -> None:
    assert kill(project, "early", lambda: holds_lock(project / "early")) == -signal.SIGKILL
    assert finish(project, "early").returncode == 1
    check_whole(project, project / "early")
    assert times(project / "early").resume.interrupted


def test_a_finished_run_repeated_is_read_back_and_gives_the_same_bytes(project: Path) -> None:
    before = (project / "whole" / "results.json").read_bytes()
    shutil.copytree(project / "whole", project / "repeated")
    seconds = times(project / "whole").seconds
    assert "Taken over" not in (project / "whole" / "index.html").read_text()
    for _ in range(2):
        assert finish(project, "repeated").returncode == 1
        assert evidence(project / "repeated") == before.replace(b'"whole"', b'"FOLDER"')
    again = times(project / "repeated")
    assert again.seconds == seconds  # as they were when measured
    assert again.resume.stages == ["model", "training", "performance", "calibration", "balance", "toy"]
    assert not again.resume.interrupted
    page = (project / "repeated" / "index.html").read_text()
    assert "The 6 stages model, training, performance, calibration, balance, toy were read back" in page
    assert "(read back)" in page


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_ends_a_run_cleanly_and_quickly(project: Path, number: int, code: int) -> None:
    folder = project / f"signalled-{int(number)}"
    process = start(project, folder.name)
    while process.poll() is None and not slices(folder):
        time.sleep(0.002)
    time.sleep(0.03)  # into a slice
    began = time.monotonic()
    for _ in range(3):  # an impatient finger
        process.send_signal(number)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert time.monotonic() - began < 20
    said = "finished work is stored, and the same command resumes from it."
    assert errors.strip().splitlines()[-1].endswith(said)
    assert "Traceback" not in errors
    assert temporary_files(folder) == []
    assert not (folder / "results.json").exists()
    assert children_of(process.pid) == []
    assert (
        json.loads((folder / LOCK).read_text())["pid"] == process.pid
    )  # unlocked; it tells that a run did not finish
    assert finish(project, folder.name).returncode == 1
    check_whole(project, folder)
    assert times(folder).resume.slices > 0
    assert times(folder).resume.interrupted


def children_of(pid: int) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid):
            found.append(entry.parent.name)
    return found


def test_two_runs_at_once_are_one_run(project: Path) -> None:
    first = start(project, "twice")
    while first.poll() is None and not holds_lock(project / "twice"):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # or it might be done before the second one starts
    second = finish(project, "twice")
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"another run uses it (process {first.pid}, since " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1  # not even "Opening the model"
    first.communicate(timeout=120)
    assert first.returncode == 1
    check_whole(project, project / "twice")


def test_another_environment_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    """Time zone, locale, hash seed, umask, no home, no folder for temporary files and a user without a name, all at once."""
    environment = {
        **os.environ,
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "12345",
        "HOME": str(tmp_path / "nowhere"),
        "TMPDIR": str(tmp_path / "nowhere"),
    }
    nameless = """
import pwd
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
"""
    done = finish(project, "elsewhere", before=nameless, env=environment, umask=0o077)
    assert done.returncode == 1, done.stderr
    check_whole(project, project / "elsewhere")
    assert (project / "elsewhere" / "results.json").stat().st_mode & 0o777 == 0o600


def test_a_clock_that_is_set_back_changes_no_byte_and_no_duration(project: Path) -> None:
    back = """
import datetime
from safeml import pipeline
days = iter(range(20, 0, -1))
class Back(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2026, 1, next(days), tzinfo=tz)
pipeline.datetime = Back
"""
    done = finish(project, "back", before=back)
    assert done.returncode == 1, done.stderr
    check_whole(project, project / "back")
    found = times(project / "back")
    assert found.started > found.finished  # the clock did go back
    assert all(seconds >= 0 for seconds in found.seconds.values())


def stranger(folder: Path, whole: Path) -> None:
    (folder / "index.html").write_text("<p>my page</p>")


def damaged_results(folder: Path, whole: Path) -> None:
    (folder / "results.json").write_text("{}")


def trained_model(folder: Path, whole: Path) -> None:
    (folder / "training.json").write_text("{}")


def other_model(folder: Path, whole: Path) -> None:
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    results = json.loads((folder / "results.json").read_text())
    results["model"]["fingerprint"] = "0" * 64
    (folder / "results.json").write_text(json.dumps(results))


def other_data(folder: Path, whole: Path) -> None:
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    results = json.loads((folder / "results.json").read_text())
    next(entry for entry in results["data"] if entry["role"] == "test")["fingerprint"] = "0" * 64
    (folder / "results.json").write_text(json.dumps(results))


def unfinished(folder: Path, whole: Path) -> None:
    (folder / "stages").mkdir()
    text = (whole / "stages" / "performance.json").read_text()
    model = json.loads(text)["result"]["provenance"]["model"]
    (folder / "stages" / "performance.json").write_text(text.replace(model, "0" * 64))


def quick_run(folder: Path, whole: Path) -> None:
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    results = json.loads((folder / "results.json").read_text())
    results["profile"] = "quick"
    (folder / "results.json").write_text(json.dumps(results))


def somebody_elses_junit(folder: Path, whole: Path) -> None:
    (folder / "junit.xml").write_text("<testsuites/>")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (quick_run, "holds a run of the quick profile, and this one is full"),
        (somebody_elses_junit, "holds a junit.xml without the results.json of its run"),
        (stranger, "holds an index.html not written by safeml"),
        (damaged_results, "holds a results.json that is damaged or not written by safeml"),
        (trained_model, "holds a trained model"),
        (other_model, "holds the run of another model"),
        (other_data, "holds a run on other test data"),
        (unfinished, "holds an unfinished run of another model"),
    ],
)
def test_a_folder_with_another_run_is_refused(
    project: Path, make: Callable[[Path, Path], None], message: str
) -> None:
    folder = project / f"taken-{make.__name__}"
    folder.mkdir()
    make(folder, project / "whole")
    run = read_run(project / "whole")
    assert run.test_data is not None
    with pytest.raises(ConfigError, match=message) as caught:
        refuse_other_run(folder, run.model.fingerprint, run.test_data.fingerprint, "full")
    assert str(caught.value).startswith(str(folder))
    assert "--force" in str(caught.value)
    refuse_other_run(project / "whole", run.model.fingerprint, run.test_data.fingerprint, "full")


def test_a_run_that_dies_before_its_report_leaves_no_older_verdict(project: Path) -> None:
    """A PASS page beside results that failed would be the worst of all reports."""
    shutil.copytree(project / "whole", project / "dies")
    dies = """
from safeml.report import write
def die(*arguments): raise MemoryError("no report today")
write.write_report = die
"""
    assert finish(project, "dies", before=dies).returncode != 0
    for name in ("index.html", "junit.xml", "summary.md", "SHA256SUMS"):
        assert not (project / "dies" / name).exists()
    assert (project / "dies" / "results.json").exists()


def test_other_peoples_files_in_a_work_folder_stay(project: Path) -> None:
    shutil.copytree(project / "whole", project / "shared")
    for stage in ("performance", "toy"):
        (project / "shared" / "work" / stage).mkdir(parents=True)
        (project / "shared" / "work" / stage / "notes.txt").write_text("mine")
    assert finish(project, "shared").returncode == 1
    for stage in ("performance", "toy"):
        assert (project / "shared" / "work" / stage / "notes.txt").read_text() == "mine"


def test_force_replaces_another_run(project: Path) -> None:
    folder = project / "forced"
    folder.mkdir()
    other_model(folder, project / "whole")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused = finish(project, "forced")
    assert refused.returncode == 2
    assert "holds the run of another model" in refused.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert finish(project, "forced", "--force").returncode == 1
    found, expected = (
        json.loads((project / out / "results.json").read_text()) for out in ("forced", "whole")
    )
    assert found["model"] == expected["model"]
    assert found["stages"] == expected["stages"]


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_one_goes_on(project: Path) -> None:
    """A limit on the size of files is the nearest thing to a full disk that needs no privilege."""
    little = """
import resource
from safeml import pipeline
class Journal(pipeline.Journal):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
pipeline.Journal = Journal
"""
    done = finish(project, "crowded", before=little)
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "cannot be written (File too large); fix that and run the same command" in last
    assert "Traceback" not in done.stderr
    assert temporary_files(project / "crowded") == []
    assert finish(project, "crowded").returncode == 1
    check_whole(project, project / "crowded")


def test_out_that_is_no_folder_is_refused(project: Path) -> None:
    (project / "a-file").write_text("mine")
    (project / "dangling").symlink_to(project / "nowhere")
    for name in ("a-file", "dangling"):
        done = finish(project, name)
        assert done.returncode == 2
        assert "exists and is not a folder; set another one with --out." in done.stderr
    assert (project / "a-file").read_text() == "mine"


def test_out_may_be_a_link_to_a_folder(project: Path) -> None:
    (project / "real").mkdir()
    (project / "link").symlink_to(project / "real")
    assert finish(project, "link").returncode == 1
    check_whole(project, project / "link")
    assert (project / "link").is_symlink()
