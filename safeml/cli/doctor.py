"""`safeml doctor`: whether this installation can run each stage, and the remedy where it cannot."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from safeml.errors import ExitCode, first_line
from safeml.limits import GIB, LIMITS

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "safeml-suite"
# The extras whose absence is a note. The extra `jetson` belongs on the device and is not looked for.
EXTRAS = ("trt", "litert", "mlflow", "delta", "openssf", "dask")
# What needs each package.
USES = {
    "tensorflow": "every command that opens a model",
    "keras": "every command that opens a model",
    "tf-keras": '`safeml quantize` with backend = "tfmot"',
    "tensorflow-model-optimization": '`safeml quantize` with backend = "tfmot"',
    "adversarial-robustness-toolbox": "stages adversarial (setting `breadth`) and privacy",
    "shap": "stage explainability",
    "fairlearn": "stage fairness",
    "numpy": "every command",
    "pandas": "stage fairness",
    "tf2onnx": "`safeml export`",
    "onnx": "ONNX models",
    "onnxruntime": "ONNX models",
    "h5py": ".h5 and .keras models",
    "scipy": "every confidence interval",
    "pydantic": "every command",
    "jinja2": "the report",
    "typer": "the command line",
    "rich": "the command line",
    "pillow": "images",
    "cryptography": "`safeml bundle` and `safeml keys`",
    "pooch": "`safeml data fetch`",
    "packaging": "`safeml doctor`",
    "threadpoolctl": "`--workers` and `--scheduler`",
    "tensorrt-rtx": "the check tensorrt_rtx of `safeml export` (optional)",
    "ai-edge-litert": "the latency that `safeml export` measures (optional)",
    "mlflow": "`safeml mlflow` (optional)",
    "bsdiff4": "`safeml bundle delta` (optional)",
    "model-signing": "`safeml bundle openssf` (optional)",
    "pyOpenSSL": "`safeml bundle openssf` (optional)",
    "distributed": "`--scheduler` (optional)",
}
State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis. state: only a fault makes the exit code nonzero."""

    name: str
    state: State
    value: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Start TensorFlow, which takes seconds.")
    ] = True,
) -> None:
    """Show versions, processor, memory and GPU, and what is missing for which stage.

    Exit code: 0 if every command can run, else 2.
    """
    from safeml.cli.show import plain

    checks = [*machine(), *packages()]
    if probe:
        checks.append(framework())
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = {"ok": "ok", "note": "note", "fault": "FAULT"}[check.state]
            remedy = f"; {check.remedy}" if check.remedy else ""
            typer.echo(plain(f"  {mark:<6} {check.name:<{width}}  {check.value}{remedy}"))
    faults = any(check.state == "fault" for check in checks)
    raise typer.Exit(int(ExitCode.USAGE if faults else ExitCode.PASSED))


def machine() -> list[Check]:
    """Return the checks of Python, processor, memory, temporary space and the confinement of the first load."""
    supported = (3, 11) <= sys.version_info < (3, 14)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return [
        Check(
            "Python",
            "ok" if supported else "fault",
            platform.python_version(),
            "" if supported else "use Python 3.11, 3.12 or 3.13",
        ),
        Check("processor", "ok", f"{cores} cores, {platform.machine()}, {platform.system()}"),
        _memory(),
        Check(
            "temporary files",
            "ok" if free > LIMITS.model_bytes else "note",
            f"{free / GIB:.1f} GiB free",
            ""
            if free > LIMITS.model_bytes
            else "set TMPDIR to a larger disk before you open a model of several GiB",
        ),
        _confinement(),
    ]


def _memory() -> Check:
    needed = LIMITS.load_memory
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return Check("memory", "note", "not known on this system")
    if total >= needed:
        return Check("memory", "ok", f"{total / GIB:.1f} GiB")
    remedy = f"a model may use up to {needed / GIB:.0f} GiB when it is opened; smaller models still open"
    return Check("memory", "note", f"{total / GIB:.1f} GiB", remedy)


def _confinement() -> Check:
    from safeml.landlock import supported

    if supported():
        return Check("confinement of models", "ok", "Landlock")
    return Check(
        "confinement of models",
        "note",
        "not supported by this system",
        "the first load of a model has limits, but can read other files; audit models of others on Linux 5.13 or later",
    )


def packages() -> list[Check]:
    """Return one check for each required package and each of EXTRAS: installed, and not below its floor."""
    from packaging.requirements import Requirement

    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return [
            Check("safeml", "fault", "is not installed", "run `python -m pip install .` in its source folder")
        ]
    needs = [Requirement(line) for line in lines]
    return [
        _package(need)
        for need in needs
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    ]


def _package(need: Requirement) -> Check:
    name, floor = need.name, need.specifier
    use, optional = USES.get(name, "every command"), need.marker is not None
    remedy = f'run `python -m pip install "{name}{floor}"`; used by {use}'
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Check(name, "note" if optional else "fault", "is not installed", remedy)
    if not floor.contains(installed, prereleases=True):
        return Check(name, "fault", f"{installed}, expected {floor}", remedy)
    return Check(name, "ok", installed)


def framework() -> Check:
    """Start TensorFlow, and return its devices."""
    from safeml.framework import devices

    remedy = "run `python -m pip install --force-reinstall tensorflow keras`"
    try:
        names = devices()
    except Exception as error:  # any exception of a broken installation is the diagnosis
        return Check("TensorFlow starts", "fault", f"{type(error).__name__}: {first_line(error)}", remedy)
    gpu = any(name.startswith("GPU") for name in names)
    return Check(
        "TensorFlow starts", "ok", ", ".join(names) + ("" if gpu else "; no GPU, so the processor is used")
    )
