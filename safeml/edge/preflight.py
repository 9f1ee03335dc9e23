"""What a device can do for a release, before anything is installed or built. Nothing here loads a model."""

import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .backends.opening import AUTO, ONNXRUNTIME, TENSORRT, installed
from .backends.plan import make_plan, row_of
from .backends.trt_common import WITHOUT_DLA
from .devices import has_fast_int8, jetpack_of
from .errors import EdgeError
from .facts import DeviceFacts

PASSED, FAILED, NOTE, UNKNOWN = "passed", "failed", "note", "not_run"
SECONDS = 60
LEAST_DISK_MB, LEAST_FREE_MB = 512, 256
# The clock of a device without a battery starts in 1970; this runtime is younger.
LEAST_CLOCK = 1790000000


class Finding(NamedTuple):
    """One finding.

    name: of what was looked at. status: "passed", "failed", "note" or "not_run". sentence: in words.
    """

    name: str
    status: str
    sentence: str


def preflight(
    facts: DeviceFacts, settings: Any, manifest: Optional[Any], now: float, importing: Any = None
) -> List[Finding]:
    """Return the findings.

    facts, settings: of the device. manifest: of a release, or None for the device alone. now: seconds since 1970.
    importing: imports TensorRT in another process and returns (version, error); for tests.
    """
    findings = [_jetpack(facts), _gpu(facts)]
    version, error = (importing or import_in_child)() if installed("tensorrt") or importing else ("", "")
    findings += _tensorrt(facts, settings, version, error)
    if manifest is not None and version:
        findings.append(_plan(version, facts, manifest))
    findings += [
        _memory(facts),
        _disk(settings),
        _clock(now),
        _power(facts),
        _clocks(facts),
        _heat(facts),
        _crypto(),
    ]
    return findings


def import_in_child() -> Tuple[str, str]:
    """Import TensorRT in another process, because a broken one can end its process; return (version, error)."""
    code = "import tensorrt; print(tensorrt.__version__)"
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        output, errors = child.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return "", f"it did not import within {SECONDS} s"
    except OSError as error:
        return "", str(error.strerror)
    if child.returncode == 0:
        return output.decode("utf-8", "replace").strip(), ""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return "", lines[-1][:300] if lines else f"its process ended with code {child.returncode}"


def _jetpack(facts: DeviceFacts) -> Finding:
    if facts.l4t is None:
        return Finding(
            "JetPack",
            UNKNOWN,
            "This is no Jetson: /etc/nv_tegra_release is missing. The release runs as a rehearsal.",
        )
    known = jetpack_of(facts.l4t) is not None
    text = "L4T {}, JetPack {}, {}.".format(
        facts.l4t, facts.jetpack or "unknown", facts.device_name or "unknown device"
    )
    return Finding(
        "JetPack", PASSED if known else NOTE, text if known else text + " This L4T is newer than the runtime."
    )


def _gpu(facts: DeviceFacts) -> Finding:
    if facts.compute_capability is None:
        return Finding(
            "GPU", UNKNOWN, "No GPU was found: neither the CUDA driver nor the device tree names one."
        )
    if has_fast_int8(facts.compute_capability):
        return Finding("GPU", PASSED, f"Compute capability {facts.compute_capability}, with fast INT8.")
    return Finding(
        "GPU",
        NOTE,
        f"Compute capability {facts.compute_capability} has no fast INT8. The float model runs in FP16, not the INT8 model that was audited; its golden "
        "outputs decide, and only a bundle with a monitor of the float model trusts any frame of it.",
    )


def _tensorrt(facts: DeviceFacts, settings: Any, version: str, error: str) -> List[Finding]:
    wanted = settings.backend in (AUTO, TENSORRT)
    if version:
        try:
            row = row_of(version)
        except EdgeError as refused:
            return [Finding("TensorRT", FAILED, refused.message)]
        findings = [
            Finding("TensorRT", PASSED, f"TensorRT {version} imports; its API is that of {row.adapter}.")
        ]
        if facts.tensorrt and facts.tensorrt.split(".")[:3] != version.split(".")[:3]:
            text = f"The package of the system is {facts.tensorrt}, and Python imports {version}; remove one of them."
            findings.append(Finding("TensorRT versions", NOTE, text))
        return findings
    if error:
        text = (
            WITHOUT_DLA
            if "libnvdla_compiler" in error
            else "tensorrt does not import: {}.".format(error.rstrip("."))
        )
        return [Finding("TensorRT", FAILED if wanted else NOTE, text)]
    other = installed("onnxruntime")
    text = "The Python module tensorrt is not installed{}.".format(
        "; ONNX Runtime runs the model on the processor"
        if other
        else "; install python3-libnvinfer of the JetPack"
    )
    usable = other and settings.backend in (AUTO, ONNXRUNTIME)
    return [Finding("TensorRT", NOTE if usable else FAILED, text)]


def _plan(version: str, facts: DeviceFacts, manifest: Any) -> Finding:
    try:
        plan = make_plan(version, facts.compute_capability, manifest.models)
    except EdgeError as error:
        return Finding("model file", FAILED, error.message)
    text = "The {} file is built with {}.".format(
        plan.model, ", ".join(plan.flags) or "the types that it states"
    )
    return Finding("model file", NOTE if plan.note else PASSED, text + (" " + plan.note if plan.note else ""))


def _memory(facts: DeviceFacts) -> Finding:
    if facts.memory_free_mb is None:
        return Finding("memory", UNKNOWN, "The free memory is unknown.")
    text = f"{facts.memory_free_mb} of {facts.memory_mb} MB are free."
    enough = facts.memory_free_mb >= LEAST_FREE_MB
    more = "" if enough else " A build needs more: close other programs, end the desktop, or add swap."
    return Finding("memory", PASSED if enough else FAILED, text + more)


def _disk(settings: Any) -> Finding:
    place = settings.root
    while not os.path.isdir(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free >> 20
    enough = free >= LEAST_DISK_MB
    text = "{} MB are free in {}{}.".format(
        free, place, "" if enough else f"; expected at least {LEAST_DISK_MB}"
    )
    return Finding("disk", PASSED if enough else FAILED, text)


def _clock(now: float) -> Finding:
    if now >= LEAST_CLOCK:
        return Finding("clock", PASSED, "The clock is plausible.")
    return Finding(
        "clock",
        FAILED,
        "The clock is before the date of this runtime: set it, or expiry dates cannot be judged.",
    )


def _power(facts: DeviceFacts) -> Finding:
    if facts.power_mode is None:
        return Finding("power mode", UNKNOWN, "The power mode is unknown (no nvpmodel).")
    return Finding(
        "power mode", NOTE, f"The power mode is {facts.power_mode}; latencies are those of this mode."
    )


def _clocks(facts: DeviceFacts) -> Finding:
    if facts.clocks_locked is None:
        return Finding("clocks", UNKNOWN, "The clocks cannot be read.")
    words = (
        "are locked"
        if facts.clocks_locked
        else "change with the load; run jetson_clocks before a measurement"
    )
    return Finding("clocks", NOTE, f"The clocks {words}.")


def _heat(facts: DeviceFacts) -> Finding:
    if not facts.temperatures:
        return Finding("temperature", UNKNOWN, "No temperature can be read.")
    name = max(facts.temperatures, key=lambda zone: facts.temperatures[zone])  # type: ignore[index]
    text = "The hottest zone is {} with {:.0f} degrees Celsius{}.".format(
        name, facts.temperatures[name], "; the device throttles" if facts.throttled else ""
    )
    return Finding("temperature", FAILED if facts.throttled else PASSED, text)


def _crypto() -> Finding:
    from .ed25519 import by_cryptography, by_libcrypto

    for name, make in (
        ("the package cryptography", by_cryptography),
        ("libcrypto of the system", by_libcrypto),
    ):
        if make() is not None:
            return Finding("signatures", PASSED, f"Signatures are verified by {name}.")
    return Finding(
        "signatures",
        FAILED,
        "Nothing verifies Ed25519 signatures; install python3-cryptography 2.6 or OpenSSL 1.1.1.",
    )


def as_records(findings: List[Finding]) -> List[Dict[str, Any]]:
    """Return the findings as plain data."""
    return [dict(finding._asdict()) for finding in findings]
