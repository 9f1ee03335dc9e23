"""Small files of Jetson devices, as text by path, in the forms that public posts and documents show.

Sources: /etc/nv_tegra_release as posted in the NVIDIA developer forums for R32.7, R35.4, R36.4 and R38.2; nvpmodel status and
configuration, thermal zones, devfreq and INA3221 paths as in the Jetson Linux developer guide and in the code of jetson_stats (facts
alone); dpkg status in its own documented format.
"""

from __future__ import annotations

from pathlib import Path


def stanza(name: str, version: str, status: str = "install ok installed") -> str:
    """Return the entry of a package in the status file of dpkg."""
    return f"Package: {name}\nStatus: {status}\nPriority: optional\nDescription: {name}\n of NVIDIA: Package\nVersion: {version}\n"


def thermal(zones: dict[str, int]) -> dict[str, str]:
    """Return the files of thermal zones; millidegrees by type."""
    files = {}
    for place, (kind, value) in enumerate(zones.items()):
        files[f"sys/class/thermal/thermal_zone{place}/type"] = kind + "\n"
        files[f"sys/class/thermal/thermal_zone{place}/temp"] = f"{value}\n"
    return files


def frequencies(
    folder: str, current: int, least: int, greatest: int, names: tuple[str, str, str]
) -> dict[str, str]:
    """Return the files of one clock."""
    values = (current, least, greatest)
    return {f"{folder}/{name}": f"{value}\n" for name, value in zip(names, values, strict=True)}


CPU = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq")
GPU = ("cur_freq", "min_freq", "max_freq")
CPU_FOLDER = "sys/devices/system/cpu/cpu0/cpufreq"
MODES = (
    "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME={} >\nCPU_ONLINE CORE_0 1\n"
)

NANO = {
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: Sat Feb 19 17:05:08 UTC 2022\n",
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,jetson-nano\0nvidia,tegra210\0",
    "proc/meminfo": "MemTotal:        4059216 kB\nMemFree:          300000 kB\nMemAvailable:    1843200 kB\n",
    "var/lib/dpkg/status": stanza("libnvinfer8", "8.2.1-1+cuda10.2")
    + "\n"
    + stanza("python3", "3.6.7-1~18.04"),
    "usr/local/cuda/version.txt": "CUDA Version 10.2.300\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet",
    "etc/nvpmodel.conf": MODES.format("5W"),
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2187\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "121\n",
    **frequencies(CPU_FOLDER, 918000, 102000, 918000, CPU),
    **frequencies("sys/class/devfreq/57000000.gpu", 76800000, 76800000, 640000000, GPU),
    **thermal({"AO-therm": 42500, "CPU-therm": 33500, "GPU-therm": 31000, "PMIC-Die": 100000}),
}
XAVIER = {
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023\n",
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3509-0000+p3668-0001\0nvidia,tegra194\0",
    "proc/meminfo": "MemTotal:        6875300 kB\nMemAvailable:    5000000 kB\n",
    "var/lib/dpkg/status": stanza("nvidia-jetpack", "5.1.2-b104")
    + "\n"
    + stanza("tensorrt", "8.5.2.2-1+cuda11.4"),
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "11.4.19"}}',
    "var/lib/nvpmodel/status": "pmode:0008 fmode:cool",
}
ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "proc/meminfo": "MemTotal:        7802740 kB\nMemAvailable:    6000000 kB\n",
    "var/lib/dpkg/status": stanza("tensorrt", "10.3.0.30-1+cuda12.5"),
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.20240801"}}',
    "var/lib/nvpmodel/status": "pmode:0001",
    "etc/nvpmodel.conf": MODES.format("25W"),
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input": "5064\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input": "1080\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_input": "5064\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input": "200\n",
    "sys/class/thermal/cooling_device0/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "1\n",
    "sys/class/thermal/cooling_device2/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device2/cur_state": "3\n",
    **frequencies(CPU_FOLDER, 1510400, 1510400, 1510400, CPU),
    **frequencies("sys/class/devfreq/17000000.gpu", 624750000, 624750000, 624750000, GPU),
    **thermal({"cpu-thermal": 55312, "gpu-thermal": 96500, "cv0-thermal": -256000}),
}
THOR = {
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri Aug 22 00:55:42 UTC 2025\n",
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0",
    "var/lib/dpkg/status": stanza("tensorrt", "10.13.2.6-1+cuda13.0", "deinstall ok config-files")
    + "\n"
    + stanza("libnvinfer10", "10.13.3.9-1+cuda13.0"),
}
DEVICES = {"nano": NANO, "xavier": XAVIER, "orin": ORIN, "thor": THOR}


def write(folder: Path, files: dict[str, str]) -> str:
    """Write the files below `folder` and return it as a root."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)
