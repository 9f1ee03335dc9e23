"""`safeml gate` and `safeml report` with other limits, a baseline and a quick run: nothing replaces a recorded verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from safeml.cli.main import app
from safeml.errors import ConfigError
from safeml.report.write import write_report
from safeml.results import Run
from safeml.store.files import atomic_write, read_run, to_json
from tests.sample_run import TIMES, gate, metric, run_of, stage

pytestmark = pytest.mark.slow

SETTINGS = """
[model]
path = "m.keras"
[data.test]
kind = "npz"
path = "test.npz"
[[gates]]
id = "clean"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = {}
"""


def safeml(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def recorded(folder: Path, limit: float = 0.95, **fields: object) -> Run:
    """A run in `folder` with an accuracy of 97 % (96 to 98) and one gate."""
    stages = [stage("performance", metrics=[metric("clean_accuracy")])]
    run = run_of(stages, [gate("clean", "clean_accuracy", threshold=limit)], **fields)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "results.json", to_json(run))
    atomic_write(folder / "run.json", to_json(TIMES))
    write_report(run, folder, TIMES)
    return run


def settings(folder: Path, limit: float, more: str = "") -> Path:
    path = folder / f"limit-{limit}.toml"
    path.write_text(SETTINGS.format(limit) + more)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_gate_with_other_limits_prints_both_verdicts_and_writes_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recorded(run, 0.99)
    before = content(run)
    done = safeml("gate", run, "-c", settings(tmp_path, 0.9))
    assert done.exit_code == 0
    assert "LOOSER      Gate clean (clean_accuracy) was lowered: >= 0.99 before, >= 0.9 now." in done.stdout
    assert "PASSED (exit code 0), full profile" in done.stdout
    assert f"Recorded, and unchanged in {run}: FAILED (exit code 1), full profile" in done.stdout
    assert content(run) == before
    again = safeml("gate", run)
    assert again.exit_code == 1
    assert "LOOSER" not in again.stdout
    assert "Recorded" not in again.stdout


def test_report_with_other_limits_is_beside_the_verdict(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recorded(run, 0.99)
    before, config = content(run), settings(tmp_path, 0.9)
    done = safeml("report", run, "--config", config)
    assert done.exit_code == 0, done.output
    page = Path(done.stdout.strip())
    assert page.parent.parent == run
    assert page.parent.name.startswith("limits-")
    made = read_run(page.parent)
    assert (made.verdict.exit_code, [change.kind for change in made.loosened]) == (0, ["lowered"])
    assert "was lowered" in page.read_text()
    assert content(run) == before
    with pytest.raises(ConfigError, match="holds the recorded verdict, which other limits never replace"):
        raise safeml("report", run, "--config", config, "--out", run).exception  # type: ignore[misc]
    assert content(run) == before
    assert safeml("report", run, "--config", config).exit_code == 0  # the same limits, the same folder
    assert safeml("report", page.parent).exit_code == 0


def test_a_report_never_replaces_another_run(tmp_path: Path) -> None:
    recorded(tmp_path / "one", 0.95)
    recorded(tmp_path / "strict", 0.99)
    before = content(tmp_path / "strict")
    refused = safeml("report", tmp_path / "one", "--out", tmp_path / "strict")
    assert isinstance(refused.exception, ConfigError)
    assert "holds the verdict of other limits" in str(refused.exception)
    assert content(tmp_path / "strict") == before
    assert safeml("report", tmp_path / "one", "--out", tmp_path / "new").exit_code == 0
    assert safeml("report", tmp_path / "one", "--out", tmp_path / "new").exit_code == 0


def test_a_baseline_names_what_is_looser_since(tmp_path: Path) -> None:
    recorded(tmp_path / "released", 0.99)
    recorded(tmp_path / "new", 0.9)
    assert "LOOSER" not in safeml("gate", tmp_path / "new").stdout
    done = safeml("gate", tmp_path / "new", "--baseline", tmp_path / "released")
    assert (done.exit_code, "was lowered: >= 0.99 before, >= 0.9 now." in done.stdout) == (0, True)


def test_the_gate_of_a_quick_run_needs_the_users_word(tmp_path: Path) -> None:
    recorded(tmp_path / "quick", profile="quick")
    assert safeml("gate", tmp_path / "quick").exit_code == 3
    done = safeml("gate", tmp_path / "quick", "--accept-quick")
    assert done.exit_code == 0
    assert "PASSED (exit code 0), quick profile, accepted by --accept-quick" in done.stdout
    assert read_run(tmp_path / "quick").verdict.exit_code == 3


ACCEPTED = '[[accepted]]\nstage = "physical"\nmetric = "{}"\nreason = "{}"\n'


def test_the_gate_command_reads_accepted_entries(tmp_path: Path) -> None:
    recorded(tmp_path / "run")
    unsigned = ACCEPTED.format("physical_accuracy.worst", "No limit")
    done = safeml("gate", tmp_path / "run", "-c", settings(tmp_path, 0.95, unsigned))
    assert (done.exit_code, "NOT SIGNED" in done.stdout) == (3, True)
    signed = settings(tmp_path, 0.95, unsigned + 'owner = "A. Owner"\n')
    assert safeml("gate", tmp_path / "run", "-c", signed).exit_code == 0


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('[[accepted]]\nstage = "physcal"\nreason = "r"\n', 'did you mean "physical"'),
        (ACCEPTED.format("physical_accuracy.wurst", "r"), 'did you mean "physical_accuracy.worst"'),
        (ACCEPTED.format("", "r") + 'slice = "night"\n', "has a slice without a metric"),
        (
            ACCEPTED.format("physical_accuracy.worst", "r") + 'slice = "night"\n',
            "physical_accuracy.worst, but slice",
        ),
        (ACCEPTED.format("physical_accuracy.worst", "  "), "is blank"),
        (2 * ACCEPTED.format("physical_accuracy.worst", "r"), "accepted entry 2 repeats an earlier one"),
        (
            '[[accepted]]\nstage = "performance"\nmetric = "clean_accuracy"\nreason = "r"\n',
            "accepts clean_accuracy, which a gate reads",
        ),
        ('[[accepted]]\nstage = "model"\nmetric = "m"\nreason = "r"\n', "the stage model records no metrics"),
    ],
)
def test_an_accepted_entry_that_covers_nothing_is_refused(entry: str, words: str, tmp_path: Path) -> None:
    recorded(tmp_path / "run")
    refused = safeml("gate", tmp_path / "run", "-c", settings(tmp_path, 0.95, entry))
    assert isinstance(refused.exception, ConfigError)
    assert words in str(refused.exception)
