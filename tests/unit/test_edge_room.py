"""The room of the edge travels: Python 3.6 to 3.12, the standard library, `monitors`, and nothing else of safeml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from safeml.version import __version__
from tests.device_pythons import VERSIONS, carry, check_grammar, imported, relative_targets, required, room
from tests.edge_bundles import Bundle, write_settings
from tests.unit.test_edge_verify import SIGNED

FILES = room("edge")
SELF_TEST = Path(__file__).with_name("edge_on_a_device.py")
# Installed on a device or not: imported inside of functions, where they are used.
LAZY = {"PIL", "cryptography", "cuda", "cv2", "gi", "numpy", "onnxruntime", "tensorflow", "tensorrt"}
# Modules of a later standard library than that of Python 3.6, or none on a device.
LATER = {
    "contextvars",
    "dataclasses",
    "graphlib",
    "importlib.metadata",
    "importlib.resources",
    "tomllib",
    "zoneinfo",
}
# Modules that decide what is believed: NumPy is not among what they need.
TRUST = (
    "errors",
    "limits",
    "strict_json",
    "moments",
    "ed25519",
    "dsse",
    "statement",
    "settings",
    "manifest",
    "container",
    "verify",
)


@pytest.mark.parametrize("file", [*FILES, SELF_TEST], ids=lambda file: file.name)
def test_a_file_is_python_3_6(file: Path) -> None:
    check_grammar(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_imports_the_standard_library_and_what_a_device_may_have(file: Path) -> None:
    names = imported(file)
    assert names <= (set(sys.stdlib_module_names) | LAZY) - LATER
    assert relative_targets(file) <= {"monitors"}


@pytest.mark.parametrize("name", TRUST)
def test_what_decides_imports_no_array_library(name: str) -> None:
    file = next(file for file in FILES if file.name == name + ".py" and file.parent.name == "edge")
    assert not imported(file) & (LAZY - {"cryptography"})


def test_the_version_is_that_of_safeml() -> None:
    from safeml.edge import VERSION

    assert __version__ == VERSION


def seconds(arguments: list[str]) -> tuple[float, str]:
    """Processor seconds of a fresh interpreter, and its standard error; wall time says more about a shared machine."""
    before = os.times()
    child = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return spent, child.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-m", "safeml.edge", "--help"], ["-c", "import safeml.edge.verify"]])
def test_a_start_takes_under_a_third_of_a_second_and_no_numpy(arguments: list[str]) -> None:
    runs = [seconds(["-X", "importtime", *arguments]) for _ in range(3)]
    assert min(spent for spent, _ in runs) < 0.3
    modules = {line.split("|")[-1].strip() for line in runs[0][1].splitlines()}
    assert "safeml.edge.verify" in modules or "safeml.edge.cli" in modules
    assert not {module.split(".")[0] for module in modules} & LAZY


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the room, the settings of a device, a good bundle and one for each case."""
    folder = carry(tmp_path_factory.mktemp("device"))
    folder.chmod(0o755)
    write_settings(folder, folder / "root")
    Bundle().write(folder / "good.safeml")
    cases = []
    for number, (_, name, change) in enumerate(SIGNED):
        bundle = Bundle()
        change(bundle)
        bundle.write(folder / f"case{number}.safeml")
        cases.append([name, f"case{number}.safeml"])
    (folder / "cases.json").write_text(json.dumps(cases))
    return folder


def answers(program: str, device: Path, tmp_path: Path, *extra: str) -> dict[str, object]:
    """What an interpreter prints, run in a copy of the device."""
    place = tmp_path / ("-".join(extra) or "all")
    subprocess.run(["cp", "-a", str(device), str(place)], check=True)
    command = [program, str(SELF_TEST), str(place), *extra]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    child = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return dict(json.loads(child.stdout))


@pytest.mark.slow
def test_this_interpreter_answers_as_the_table_says(device: Path, tmp_path: Path) -> None:
    result = answers(sys.executable, device, tmp_path)
    assert result["cases"] == [[name, reason] for reason, name, _ in SIGNED]
    assert (result["verified"], result["unpacked"], result["started"]) == (5, 5, 5)
    assert result["changed slot"] == "wrong-length"
    assert result["vector"] is True
    assert (result["numpy"], result["hidden"]) == (False, False)
    reasons = result["tampered"]
    assert isinstance(reasons, list)
    assert len(reasons) > 150
    assert 5 not in reasons


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_interpreter_believes_what_this_one_believes(
    version: str, device: Path, tmp_path: Path
) -> None:
    """With the library that it has, and with libcrypto alone."""
    program = required(version)
    (tmp_path / "ours").mkdir()
    ours = answers(sys.executable, device, tmp_path / "ours")
    for extra in ((), ("libcrypto",)):
        assert answers(program, device, tmp_path, *extra) == ours
