"""The distributions of the release: what they hold, and that an installed wheel works in another folder, without the source tree."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest

from safeml.bundle import runtime
from safeml.bundle.report_signing import verify_report
from safeml.bundle.signing import generate_key
from safeml.store.files import read_run
from safeml.version import __version__
from tests import bundle_runs
from tests.edge_bundles import trust

ROOT = Path(__file__).parents[2]
NAME = f"safeml_suite-{__version__}"
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools replaces sys.argv
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""

pytestmark = pytest.mark.slow


def package_files() -> set[str]:
    """Return the files of the package that an installation needs: each one of its folder, compiled ones excepted."""
    found = (
        path for path in (ROOT / "safeml").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist and wheel of a copy of the tree, which leaves no build folder here, without network."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "safeml", copy / "safeml", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD, out], cwd=copy, check=True, capture_output=True, text=True)
    return out


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, with the libraries of this environment, into a folder that nothing else is in."""
    place = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--quiet", "--target", place]  # fmt: skip
    subprocess.run([*install, distributions / f"{NAME}-py3-none-any.whl"], check=True, capture_output=True, text=True)  # fmt: skip
    return place


def call(installed: Path, folder: Path, *arguments: object, code: int = 0) -> str:
    """Run the installed command in `folder` and return what it prints; it finds safeml in no other place."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, installed / "bin" / "safeml", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(distributions / f"{NAME}-py3-none-any.whl") as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(f"{NAME}.dist-info/entry_points.txt").decode())
    assert {name for name in names if not name.startswith(f"{NAME}.dist-info/")} == package_files()
    for name in (
        "py.typed",
        "report/templates/index.html",
        "report/static/report.css",
        "edge/cli.py",
        "monitors/runtime.py",
    ):
        assert f"safeml/{name}" in names
    assert (metadata["Name"], metadata["Version"]) == ("safeml-suite", __version__)
    assert dict(commands["console_scripts"]) == {"safeml": "safeml.cli.entry:main"}
    assert f"{NAME}.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_builds_the_same_package(distributions: Path) -> None:
    with tarfile.open(distributions / f"{NAME}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    assert package_files() <= names
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    others = {name for name in names if not name.startswith(("safeml/", "safeml_suite.egg-info/"))}
    assert others == {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"}


def test_the_changelog_has_the_version_with_its_day() -> None:
    heads = [
        line
        for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("## ")
    ]
    assert f"## {__version__} - 2026-11-29" in heads


def test_an_installed_wheel_audits_and_makes_the_edge_runtime_in_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    assert call(installed, tmp_path, "--version") == f"safeml {__version__}\n"
    assert "performance" in call(installed, tmp_path, "list", "stages")
    where = subprocess.run(
        [sys.executable, "-c", "import safeml; print(safeml.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(installed))
    call(installed, tmp_path, "edge", "build", "--out", "edge")
    assert (tmp_path / "edge" / runtime.WHEEL).read_bytes() == runtime.wheel_bytes()

    bundle_runs.write_model(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, bundle_runs.SIDE, bundle_runs.SIDE, 3), dtype=np.uint8)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(40) % bundle_runs.CLASSES)
    key = generate_key(tmp_path / "key")
    (tmp_path / "safeml.toml").write_text(
        '[model]\npath = "model.onnx"\n[data.test]\nkind = "npz"\npath = "test.npz"\nframes_per_sign = 1\n[[gates]]\nid = "accuracy"\n'
        'stage = "performance"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.99\nrationale = "A random model."\n[sign]\nkey = "key"\n'
    )
    told = call(installed, tmp_path, "audit", "--only", "performance", "--out", "run", code=1)
    assert "FAILED (exit code 1)" in told
    run = read_run(tmp_path / "run")
    assert (run.safeml_version, run.verdict.status) == (__version__, "failed")
    assert verify_report(tmp_path / "run", [trust(key)]).statement.claims.ours["verdict"] == "failed"
    assert "<style>" in (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
