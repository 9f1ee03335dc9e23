"""`safeml list`, `safeml doctor`, the help and the version."""

from __future__ import annotations

import configparser
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from safeml.attacks.rows import ROWS
from safeml.cli import doctor, main
from safeml.defaults import GATES
from safeml.stages import STAGES
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.base import losses
from safeml.version import __version__

SETUP = Path(__file__).parents[2] / "setup.cfg"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def safeml(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line in this process: arguments -> (exit code, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["safeml", *map(str, words)])
        try:
            code = main._command()
        except Exception as error:
            code = main._usage(error, error.format_message())  # type: ignore[attr-defined]
        output = capsys.readouterr()
        return int(code or 0), output.out, output.err

    return run


def test_each_list_has_every_row(safeml: Command) -> None:
    def names(kind: str, key: str) -> list[str]:
        code, output, _ = safeml("list", kind, "--json")
        assert code == 0
        return [row[key] for row in json.loads(output)]

    assert names("stages", "stage") == [row.name for row in STAGES]
    assert names("attacks", "attack") == list(ROWS)
    assert names("gates", "gate") == [gate.id for gate in GATES]
    declared = [metric.name for row in STAGES for metric in row.records(row.settings())]
    lost = [metric.name for row in STAGES for metric in losses(row.records(row.settings()))]
    assert names("metrics", "metric") == declared + lost


def test_a_list_says_why_no_gate_may_read_a_metric(safeml: Command) -> None:
    rows = json.loads(safeml("list", "metrics", "--json")[1])
    alone = next(row for row in rows if row["metric"] == "robust_accuracy.linf_4.pgd")
    assert alone["gate"].startswith("no: the result of a single attack")
    worst = next(row for row in rows if row["metric"] == "robust_accuracy.linf_4")
    assert worst["gate"] == "yes"


def test_a_list_reads_the_settings_file(safeml: Command, tmp_path: Path) -> None:
    file = tmp_path / "safeml.toml"
    file.write_text(
        '[model]\npath = "m.keras"\n[data.test]\nkind = "npz"\npath = "d.npz"\n'
        '[stages.adversarial]\nenabled = false\n[[gates]]\nid = "mine"\nstage = "performance"\n'
        'title = "Mine"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.5\nrationale = "A test."\n'
    )
    enabled = {
        row["stage"]: row["enabled"] for row in json.loads(safeml("list", "stages", "-c", file, "--json")[1])
    }
    assert enabled["adversarial"] == "no"
    assert enabled["performance"] == "yes"
    code, output, _ = safeml("list", "gates", "-c", file)
    assert code == 0
    assert output.splitlines()[1].split()[:3] == ["mine", "performance", "clean_accuracy"]
    assert len(output.splitlines()) == 2


def test_a_piped_table_cuts_no_value(safeml: Command) -> None:
    output = safeml("list", "stages")[1]
    assert ADVERSARIAL.summary in output


def test_no_command_prints_the_help_and_is_no_pass(safeml: Command) -> None:
    code, output, _ = safeml()
    assert code == 2
    assert "Usage:" in output
    assert "\\x0a" not in output


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["audit", "-h"], ["data", "fetch", "-h"]])
def test_both_forms_of_help(safeml: Command, words: list[str]) -> None:
    code, output, _ = safeml(*words)
    assert code == 0
    assert "Usage:" in output


def test_the_version_needs_no_command(safeml: Command) -> None:
    assert safeml("--version") == (0, f"safeml {__version__}\n", "")


def test_an_unknown_kind_is_one_sentence(safeml: Command) -> None:
    code, _, errors = safeml("list", "gate")
    assert code == 2
    assert errors.count("\n") == 1
    assert "'gates'" in errors


def test_the_uses_name_every_required_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    extras = [setup["options.extras_require"][extra] for extra in doctor.EXTRAS]
    lines = "\n".join([setup["options"]["install_requires"], *extras])
    required = {Requirement(line).name for line in lines.split("\n") if line.strip()}
    assert required == set(doctor.USES)


def test_the_doctor_names_what_is_absent_or_too_old(
    safeml: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        "cryptography>=46",
        "onnx>=1.21",
        "scipy>=1.17",
        'tensorrt-rtx>=1.7; extra == "trt"',
        'ruff>=1; extra == "dev"',
    ]
    versions = {"onnx": "1.20.0", "scipy": "1.17.1"}

    def installed(name: str) -> str:
        if name not in versions:
            raise doctor.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    monkeypatch.setattr(doctor, "version", installed)
    code, output, _ = safeml("doctor", "--no-probe", "--json")
    found = {check["name"]: check for check in json.loads(output)}
    states = {name: found[name]["state"] for name in ("cryptography", "onnx", "scipy", "tensorrt-rtx")}
    assert states == {"cryptography": "fault", "onnx": "fault", "scipy": "ok", "tensorrt-rtx": "note"}
    assert "ruff" not in found
    assert 'pip install "cryptography>=46"' in found["cryptography"]["remedy"]
    assert found["onnx"]["value"] == "1.20.0, expected >=1.21"
    assert code == 2


def test_an_installation_without_faults_exits_with_0(safeml: Command) -> None:
    code, output, _ = safeml("doctor", "--no-probe")
    assert code == 0, output
    assert "FAULT" not in output
    assert "tensorflow" in output


def test_a_framework_that_does_not_start_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("libcudart.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr("safeml.framework.start", broken)
    check = doctor.framework()
    assert check.state == "fault"
    assert check.value == "ImportError: libcudart.so.12: cannot open shared object file"
    assert "reinstall" in check.remedy
