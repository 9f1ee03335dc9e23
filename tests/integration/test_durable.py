"""Runs that are killed, interrupted, repeated, doubled or pointed at the wrong folder: the evidence is whole or absent."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
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
from tests.integration.test_pipeline import TINY_ATTACKS, write_project

pytestmark = pytest.mark.slow

KILLS_BY_TIME, CHAINS, KILLS_IN_A_CHAIN = 2, 1, 8
# The model's first load in a process of its own takes as long as all the rest here, and is not what is killed.
PROGRAM = """
from safeml.classifiers import load
from safeml.cli.main import main
from safeml.sandbox import Outcome
load._trial = lambda found: Outcome("ok", {})
load.describe = lambda model: {}
main()
"""
ATTACKS = f"""images = 160
steps = 3
{TINY_ATTACKS}batch = 32
full_ensemble = ["linf_0.5"]
threats = [{{norm = "linf", epsilon = "1/510"}}, {{norm = "linf", epsilon = "4/255"}}]
"""
# Enough signs for some to be right, and a patch for a class that this model knows, trained on the images of [data.valid].
PATCHED = """images = 16
patch_pair = ["No entry", "No passing"]
"""
VALID = """
[data.valid]
kind = "rendered"
images = 430
seed = 2
"""
# One piece of work of each kind, in the order in which they are kept.
KINDS = (
    "adversarial/fgsm-linf_0.5",
    "adversarial/fmn-linf_255",
    "adversarial/apgd_t-linf_0.5",
    "adversarial/square-linf_0.5",
    "adversarial/certified",
    "physical/sticker",
    "physical/patch",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained model with its settings, and the run of it that nothing disturbed, in `whole`."""
    folder = tmp_path_factory.mktemp("durable")
    config = write_project(folder)
    text = config.read_text()
    start, end = text.index("images = 32"), text.index("[stages.physical]")
    signs = text[end:].replace("images = 4\n", PATCHED, 1)
    config.write_text(text[:start] + ATTACKS + signs + VALID)
    paths = [str(folder / "recipe.toml"), "--out", str(folder / "model")]
    trained = subprocess.run(
        [sys.executable, "-m", "safeml.cli.main", "train", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    began = time.monotonic()
    done = finish(folder, "whole")
    assert done.returncode == 1, done.stderr
    (folder / "duration").write_text(str(time.monotonic() - began))
    return folder


def command(project: Path, out: str, *more: str, instead: str = "\nmain()\n") -> list[str]:
    """An audit into `out`; `instead` of calling main() at once, other lines that end in it."""
    paths = ["--config", str(project / "safeml.toml"), "--model", str(project / "model")]
    program = PROGRAM.replace("\nmain()\n", instead)
    return [sys.executable, "-c", program, "audit", *paths, "--out", str(project / out), *more]


def finish(
    project: Path, out: str, *more: str, instead: str = "\nmain()\n", **options: object
) -> subprocess.CompletedProcess[str]:
    arguments = command(project, out, *more, instead=instead)
    return subprocess.run(  # type: ignore[call-overload]
        arguments, capture_output=True, text=True, check=False, timeout=240, **options
    )


def evidence(folder: Path) -> bytes:
    """results.json, but for the folder's name in the recorded command."""
    return (folder / "results.json").read_bytes().replace(f'"{folder.name}"'.encode(), b'"FOLDER"')


def times(folder: Path) -> RunTimes:
    found = read_times(folder)
    assert found is not None
    return found


def kept(folder: Path) -> int:
    """How many stages and slices an unfinished run has kept."""
    # os.walk, because it takes it well when a folder is removed while it looks.
    walks = (os.walk(folder / where) for where in ("stages", "work"))
    return sum(name.endswith((".json", ".npz")) for walk in walks for _, _, names in walk for name in names)


def start(project: Path, out: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(project, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def kill(project: Path, out: str, ripe: Callable[[float], bool]) -> tuple[int, str]:
    """Start a run, and kill it as soon as `ripe(seconds since its start)`; its return code and standard error."""
    process = start(project, out)
    began = time.monotonic()
    try:
        while process.poll() is None and not ripe(time.monotonic() - began):
            time.sleep(0.002)
    finally:
        process.kill()
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def check_whole(project: Path, folder: Path) -> None:
    assert evidence(folder) == evidence(project / "whole")
    assert temporary_files(folder) == []
    assert not (folder / LOCK).exists()
    assert not (folder / "work").exists()
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        assert (folder / line[66:]).is_file()


class Kills:
    """Kills runs, and counts what became of them."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.killed = self.with_something_kept = 0
        self.ends: list[RunTimes] = []

    def one(self, out: str, ripe: Callable[[float], bool]) -> None:
        code, errors = kill(self.project, out, ripe)
        assert code in (-signal.SIGKILL, 1), errors  # 1: it was done before
        self.killed += code == -signal.SIGKILL
        self.with_something_kept += code == -signal.SIGKILL and kept(self.project / out) > 0

    def end(self, out: str) -> None:
        done = finish(self.project, out)
        assert done.returncode == 1, done.stderr
        check_whole(self.project, self.project / out)
        self.ends.append(times(self.project / out))


def after_entries(folder: Path, goal: int, later: float) -> Callable[[float], bool]:
    """Ripe `later` seconds after more than `goal` stages and slices are kept."""
    reached: list[float] = []

    def ripe(seconds: float) -> bool:
        if not reached and kept(folder) > goal:
            reached.append(seconds)
        return bool(reached) and seconds > reached[0] + later

    return ripe


def test_kill_9_at_ten_random_moments_changes_no_byte(project: Path) -> None:
    """Two moments over the whole duration, each in a fresh folder; one folder in which run after run is killed a little later."""
    rng, kills = random.Random(7), Kills(project)
    duration = float((project / "duration").read_text())
    for number in range(KILLS_BY_TIME):
        moment = duration * (number + rng.random()) / KILLS_BY_TIME
        kills.one(f"fresh-{number}", moment.__lt__)
        kills.end(f"fresh-{number}")
    for chain in range(CHAINS):
        out = f"chain-{chain}"
        for _ in range(KILLS_IN_A_CHAIN):
            # At least one stage or slice further each time, and a moment later that is anywhere within the next.
            goal, later = kept(project / out) + rng.randint(0, 1), rng.random() * 0.03
            kills.one(out, after_entries(project / out, goal, later))
        kills.end(out)
    resumed = [entry.resume for entry in kills.ends]
    assert kills.killed >= 8
    assert kills.with_something_kept >= 5
    assert sum(entry.slices > 0 for entry in resumed) >= CHAINS
    assert sum(bool(entry.stages) for entry in resumed) >= CHAINS
    assert sum(entry.interrupted for entry in resumed) >= CHAINS
    assert [entry.recomputed for entry in resumed] == [[]] * len(resumed)
    page = (project / "chain-0" / "index.html").read_text()
    assert "An earlier run that began" in page
    assert "were read back" in page


def is_kept(folder: Path, kind: str) -> bool:
    stage, item = kind.split("/")
    name = re.compile(re.escape(item) + r"-[0-9a-f]{24}\.npz")
    return any(name.fullmatch(path) for _, _, names in os.walk(folder / "work" / stage) for path in names)


def test_kill_9_after_each_kind_of_work_changes_no_byte(project: Path) -> None:
    """One folder: run after run is killed as soon as it has kept the next kind of work, and goes on from the one before."""
    kills, folder = Kills(project), project / "kinds"
    for kind in KINDS:
        kills.one("kinds", lambda seconds, kind=kind: is_kept(folder, kind))
        assert is_kept(folder, kind), kind  # killed before its stage was done
    kills.end("kinds")
    assert kills.killed == kills.with_something_kept == len(KINDS)
    assert kills.ends[0].resume.slices > 0
    assert kills.ends[0].resume.recomputed == []
    [ledger] = [stage.ledger for stage in read_run(folder).stages if stage.stage == "adversarial"]
    assert ledger is not None
    assert len(ledger.rows) == 160


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
    assert again.resume.stages == ["model", "training", "performance", "balance", "adversarial", "physical"]
    assert not again.resume.interrupted
    page = (project / "repeated" / "index.html").read_text()
    assert "The 6 stages model, training, performance, balance, adversarial, physical were read back" in page
    assert "(read back)" in page


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_ends_a_run_cleanly_and_quickly(project: Path, number: int, code: int) -> None:
    folder = project / f"signalled-{int(number)}"
    process = start(project, folder.name)
    while process.poll() is None and not list(folder.glob("work/adversarial/*.npz")):
        time.sleep(0.002)
    time.sleep(0.05)  # into an attack
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
    while first.poll() is None and not (project / "twice" / LOCK).exists():
        time.sleep(0.01)
    time.sleep(0.1)
    second = finish(project, "twice")
    assert second.returncode == 2
    assert f"another run uses it (process {first.pid}, since " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1  # not even "Opening the model"
    first.communicate(timeout=120)
    assert first.returncode == 1
    check_whole(project, project / "twice")


def test_another_environment_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    """Time zone, locale, hash seed, -O, umask, no home, no folder for temporary files and a user without a name, all at once."""
    environment = {
        **os.environ,
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "12345",
        "PYTHONOPTIMIZE": "1",
        "HOME": str(tmp_path / "nowhere"),
        "TMPDIR": str(tmp_path / "nowhere"),
    }
    nameless = """
import pwd
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
main()
"""
    done = finish(project, "elsewhere", instead=nameless, env=environment, umask=0o077)
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
main()
"""
    done = finish(project, "back", instead=back)
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
main()
"""
    assert finish(project, "dies", instead=dies).returncode != 0
    for name in ("index.html", "junit.xml", "summary.md", "SHA256SUMS"):
        assert not (project / "dies" / name).exists()
    assert (project / "dies" / "results.json").exists()


def test_other_peoples_files_in_a_work_folder_stay(project: Path) -> None:
    shutil.copytree(project / "whole", project / "shared")
    for stage in ("performance", "adversarial"):
        (project / "shared" / "work" / stage).mkdir(parents=True)
        (project / "shared" / "work" / stage / "notes.txt").write_text("mine")
    assert finish(project, "shared").returncode == 1
    for stage in ("performance", "adversarial"):
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
    def __init__(self, folder):
        super().__init__(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
pipeline.Journal = Journal
main()
"""
    done = finish(project, "crowded", instead=little)
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
