"""Facts of the device: JetPack, L4T, TensorRT, CUDA, compute capability, memory, power mode, clocks. A fact that is unknown is None."""

import glob
import json
import os
import platform
import re
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from . import sensors
from .cuda_driver import Gpu, first_gpu
from .devices import CHIPS, jetpack_of
from .sensors import read_text

# Installed packages of a JetPack that carry the version of TensorRT and of JetPack.
TENSORRT_PACKAGES = ("tensorrt", "libnvinfer10", "libnvinfer8", "libnvinfer-bin", "libnvinfer11")
JETPACK_PACKAGES = ("nvidia-jetpack",)
MOST_STATUS_BYTES = 1 << 26


class DeviceFacts(NamedTuple):
    """What a device is; every value may be None.

    architecture: of the processor, such as "aarch64".
    jetpack, l4t: versions, such as "6.2" and "36.4.3".
    tensorrt, cuda: versions, such as "10.3.0.30" and "12.6".
    compute_capability: of the GPU, such as "8.7".
    device_name: of the board.
    chip: entry of the device tree, such as "nvidia,tegra234".
    memory_mb, memory_free_mb: of the system; GPU and processor share it on a Jetson.
    power_mode: name of the nvpmodel mode.
    clocks, temperatures: see `sensors`.
    clocks_locked, throttled: whether.
    python: version of the interpreter.
    runtime: operating system and kernel.
    """

    architecture: Optional[str] = None
    jetpack: Optional[str] = None
    l4t: Optional[str] = None
    tensorrt: Optional[str] = None
    compute_capability: Optional[str] = None
    device_name: Optional[str] = None
    memory_mb: Optional[int] = None
    cuda: Optional[str] = None
    power_mode: Optional[str] = None
    clocks: Optional[Dict[str, Dict[str, float]]] = None
    python: Optional[str] = None
    chip: Optional[str] = None
    memory_free_mb: Optional[int] = None
    clocks_locked: Optional[bool] = None
    temperatures: Optional[Dict[str, float]] = None
    throttled: Optional[bool] = None
    runtime: Optional[str] = None


def read_facts(root: str = "/", gpu: Optional[Callable[[], Optional[Gpu]]] = None) -> DeviceFacts:
    """Return the facts of the device.

    root: of the file system; another one than "/" reads recorded files and asks no driver.
    gpu: gives the first GPU; by default the CUDA driver of the system.
    """
    real = os.path.abspath(root) == "/"
    driver = (gpu or (first_gpu if real else lambda: None))()
    names = packages(root, TENSORRT_PACKAGES + JETPACK_PACKAGES)
    chip = _chip(root)
    l4t = l4t_release(root)
    memory, free = memory_mb(root)
    frequencies = sensors.clocks(root)
    capability = driver.capability if driver else (CHIPS[chip].capability if chip in CHIPS else None)
    return DeviceFacts(
        architecture=platform.machine() or None,
        jetpack=_first(names, JETPACK_PACKAGES) or jetpack_of(l4t),
        l4t=l4t,
        tensorrt=_first(names, TENSORRT_PACKAGES) or (_wheel("tensorrt") if real else None),
        compute_capability=capability,
        device_name=read_text(root, "/proc/device-tree/model") or (driver.name if driver else None),
        memory_mb=memory,
        cuda=cuda_version(root) or (driver.driver if driver else None),
        power_mode=power_mode(root),
        clocks=frequencies or None,
        python=platform.python_version(),
        chip=chip,
        memory_free_mb=free,
        clocks_locked=sensors.locked(frequencies),
        temperatures=sensors.temperatures(root) or None,
        throttled=sensors.throttled(root),
        runtime=f"{platform.system()} {platform.release()}",
    )


def l4t_release(root: str) -> Optional[str]:
    """Return the L4T release, such as "36.4.3", from /etc/nv_tegra_release."""
    text = read_text(root, "/etc/nv_tegra_release") or ""
    match = re.match(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return "{}.{}".format(*match.groups()) if match else None


def packages(root: str, names: Tuple[str, ...]) -> Dict[str, str]:
    """Return the version of each installed package of `names`, from the status file of dpkg."""
    result: Dict[str, str] = {}
    try:
        with open(os.path.join(root, "var/lib/dpkg/status"), "rb") as file:
            text = file.read(MOST_STATUS_BYTES)
    except OSError:
        return result
    for name in names:
        place = text.find(b"\nPackage: " + name.encode("ascii") + b"\n")
        if place < 0 and not text.startswith(b"Package: " + name.encode("ascii") + b"\n"):
            continue
        stanza = text[max(place, 0) :].lstrip(b"\n").split(b"\n\n", 1)[0].decode("utf-8", "replace")
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed") and "Version" in fields:
            result[name] = fields["Version"]
    return result


def cuda_version(root: str) -> Optional[str]:
    """Return the CUDA version of the toolkit, such as "12.6.68"."""
    text = read_text(root, "/usr/local/cuda/version.json")
    if text:
        try:
            return str(json.loads(text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            return None
    match = re.search(r"CUDA Version ([\d.]+)", read_text(root, "/usr/local/cuda/version.txt") or "")
    return match.group(1) if match else None


def memory_mb(root: str) -> Tuple[Optional[int], Optional[int]]:
    """Return total and available memory in MiB."""
    text = read_text(root, "/proc/meminfo") or ""
    values: List[Optional[int]] = []
    for key in ("MemTotal", "MemAvailable"):
        match = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
        values.append(int(match.group(1)) // 1024 if match else None)
    return values[0], values[1]


def power_mode(root: str) -> Optional[str]:
    """Return the name of the nvpmodel mode, or its number where the name is unknown."""
    match = re.search(r"pmode:(\d+)", read_text(root, "/var/lib/nvpmodel/status") or "")
    if not match:
        return None
    mode = int(match.group(1))
    entries = re.findall(
        r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", read_text(root, "/etc/nvpmodel.conf", 1 << 20) or ""
    )
    names = {int(key): name for key, name in entries}
    return str(names.get(mode, mode))


def as_record(facts: DeviceFacts) -> Dict[str, Any]:
    """Return the facts as plain data for JSON."""
    return dict(facts._asdict())


def _chip(root: str) -> Optional[str]:
    for entry in (read_text(root, "/proc/device-tree/compatible") or "").split("\0"):
        if entry in CHIPS:
            return entry
    return None


def _first(versions: Dict[str, str], names: Tuple[str, ...]) -> Optional[str]:
    """Return the version without the packaging suffix of the first package that is installed."""
    for name in names:
        if name in versions:
            return re.split(r"[-+]", versions[name].split(":")[-1])[0]
    return None


def _wheel(name: str) -> Optional[str]:
    """Return the version of an installed wheel, from the name of its folder; nothing is imported."""
    for folder in sys.path:
        for path in sorted(glob.glob(os.path.join(glob.escape(folder or "."), name + "-*.dist-info"))):
            return os.path.basename(path)[len(name) + 1 : -len(".dist-info")]
    return None
