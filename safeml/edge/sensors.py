"""Temperatures, clocks, throttling and power of a device, from sysfs. A value that cannot be read is absent, never zero.

Every reader takes the root of the file system, so that recorded files can stand in for a device.
"""

import glob
import os
from typing import Dict, List, Optional

MOST_BYTES = 1 << 16


def read_text(root: str, path: str, most: int = MOST_BYTES) -> Optional[str]:
    """Return the text of a small file without surrounding white space and NUL bytes, or None where it cannot be read."""
    try:
        with open(os.path.join(root, path.lstrip("/")), "rb") as file:
            return file.read(most).decode("utf-8", "replace").strip(" \t\r\n\0")
    except OSError:
        return None


def number(text: Optional[str]) -> Optional[float]:
    """Return the number in a text, or None."""
    try:
        return None if text is None else float(text.split()[0])
    except (ValueError, IndexError):
        return None


def paths(root: str, pattern: str) -> List[str]:
    """Return the sorted paths below `root` that match, each starting with a slash."""
    root = os.path.join(root, "")
    return ["/" + path[len(root) :] for path in sorted(glob.glob(root + pattern.lstrip("/")))]


def temperatures(root: str = "/") -> Dict[str, float]:
    """Return the temperature of each thermal zone in degrees Celsius, by the type of the zone."""
    result = {}
    for zone in paths(root, "/sys/class/thermal/thermal_zone*"):
        name, value = read_text(root, zone + "/type"), number(read_text(root, zone + "/temp"))
        # A zone that is switched off reports minus 256 degrees.
        if name and value is not None and value > -100000:
            result[name] = value / 1000.0
    return result


def throttled(root: str = "/") -> Optional[bool]:
    """Return whether a throttle alert is active, or None where the device has no such alert."""
    states = []
    for device in paths(root, "/sys/class/thermal/cooling_device*"):
        kind = read_text(root, device + "/type") or ""
        state = number(read_text(root, device + "/cur_state"))
        if "throttle" in kind or kind.endswith("-alert"):
            states.append(state)
    known = [state for state in states if state is not None]
    return any(state > 0 for state in known) if known else None


def clocks(root: str = "/") -> Dict[str, Dict[str, float]]:
    """Return current, least and greatest frequency in MHz of the first processor core and of the GPU.

    Equal least and greatest frequencies mean that the clock is locked, as `jetson_clocks` does.
    """
    result = {}
    cpu = "/sys/devices/system/cpu/cpu0/cpufreq/"
    entry = _frequencies(
        root, [cpu + "scaling_cur_freq", cpu + "scaling_min_freq", cpu + "scaling_max_freq"], 1e3
    )
    if entry:
        result["cpu"] = entry
    for folder in paths(root, "/sys/class/devfreq/*"):
        # 57000000.gpu (Nano), 17000000.gp10b (TX2), 17000000.gv11b (Xavier), 17000000.ga10b or .gpu (Orin), gpu-gpc-0 (Thor)
        name = folder.rsplit("/", 1)[1]
        if any(part in name for part in ("gpu", "gp10b", "gv11b", "ga10b", "gb10b")):
            entry = _frequencies(root, [folder + end for end in ("/cur_freq", "/min_freq", "/max_freq")], 1e6)
            if entry:
                result["gpu"] = entry
                break
    return result


def locked(entries: Dict[str, Dict[str, float]]) -> Optional[bool]:
    """Return whether all clocks of `clocks` are locked, or None where none was read."""
    return all(entry["least"] == entry["greatest"] for entry in entries.values()) if entries else None


def power(root: str = "/") -> Dict[str, float]:
    """Return the power of each rail in watts, by its name, from the INA3221 monitors of the board."""
    result = {}
    for folder in paths(root, "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"):
        for channel in range(1, 4):
            name = read_text(root, f"{folder}/in{channel}_label")
            volt = number(read_text(root, f"{folder}/in{channel}_input"))
            ampere = number(read_text(root, f"{folder}/curr{channel}_input"))
            if name and name != "NC" and volt is not None and ampere is not None:
                result[name] = volt * ampere / 1e6
    # JetPack 4.
    for folder in paths(root, "/sys/bus/i2c/drivers/ina3221x/*/iio:device*"):
        for channel in range(3):
            name = read_text(root, f"{folder}/rail_name_{channel}")
            watt = number(read_text(root, f"{folder}/in_power{channel}_input"))
            if name and watt is not None:
                result[name] = watt / 1e3
    return result


def _frequencies(root: str, files: List[str], scale: float) -> Dict[str, float]:
    values = [number(read_text(root, file)) for file in files]
    names = ("current", "least", "greatest")
    known = {name: value / scale for name, value in zip(names, values) if value is not None}
    return known if len(known) == len(names) else {}
