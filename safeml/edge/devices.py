"""What is known of Jetson devices by name: chip, compute capability, fast INT8, and the JetPack of each L4T release.

Source: NVIDIA's L4T release notes and CUDA's list of compute capabilities; docs/jetson.md names the documents.
"""

from typing import NamedTuple, Optional


class Chip(NamedTuple):
    """A system on chip.

    devices: names of the boards.
    capability: CUDA compute capability of its GPU.
    fast_int8: the GPU has INT8 instructions that TensorRT uses.
    """

    devices: str
    capability: str
    fast_int8: bool


# By the entry of /proc/device-tree/compatible.
CHIPS = {
    "nvidia,tegra210": Chip("Jetson TX1, Nano", "5.3", False),
    "nvidia,tegra186": Chip("Jetson TX2", "6.2", False),
    "nvidia,tegra194": Chip("Jetson Xavier NX, AGX Xavier", "7.2", True),
    "nvidia,tegra234": Chip("Jetson Orin Nano, NX, AGX", "8.7", True),
    "nvidia,tegra264": Chip("Jetson Thor", "11.0", True),
}
WITHOUT_FAST_INT8 = tuple(sorted(chip.capability for chip in CHIPS.values() if not chip.fast_int8))
# By the first numbers of the L4T release; the longest match counts.
JETPACKS = {
    "32.4": "4.4",
    "32.5": "4.5",
    "32.6": "4.6",
    "32.7": "4.6",
    "34.1": "5.0",
    "35.1": "5.0",
    "35": "5.1",
    "36.2": "6.0",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2",
    "36.5": "6.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
}


def jetpack_of(l4t: Optional[str]) -> Optional[str]:
    """Return the JetPack of an L4T release such as "36.4.3", or None for an unknown one."""
    parts = (l4t or "").split(".")
    for count in range(len(parts), 0, -1):
        known = JETPACKS.get(".".join(parts[:count]))
        if known is not None:
            return known
    return None


def has_fast_int8(capability: Optional[str]) -> bool:
    """Return whether TensorRT has fast INT8 kernels for a GPU; a GPU of unknown capability counts as one that has."""
    return capability not in WITHOUT_FAST_INT8
