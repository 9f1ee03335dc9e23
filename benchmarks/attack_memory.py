"""Memory of an attack against the number of images: what grows is the images themselves, and what is given back for each.

    python benchmarks/attack_memory.py

PGD and APGD on models/lenet-gtsrb with 256 and with 4,096 rendered signs, each in a process of its own; the peak is what the system says.
An image of 32 x 32 pixels in float32 has 12 KiB, and three such arrays are held: what was given, a working copy, what is given back.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

RESULT = Path(__file__).parent / "results" / "attack_memory.json"
FEW, MANY = 256, 4096
IMAGE_KIB = 32 * 32 * 3 * 4 / 1024
ARRAYS = 3
BATCH = 64


def peak_kib(count: int) -> int:
    """Of this process, after attacking `count` images."""
    import numpy as np

    from safeml import framework

    framework.start()
    from safeml.attacks.base import Budget
    from safeml.attacks.registry import ATTACKS
    from safeml.classifiers.load import load_model
    from safeml.data.rendered import render
    from safeml.settings.model import InputSettings
    from safeml.threats import Threat

    names = tuple(str(number) for number in range(43))
    folder = Path(__file__).parent.parent / "models" / "lenet-gtsrb"
    classifier = load_model(folder).model.fed(InputSettings(), names, "lenet-gtsrb")
    signs = render(430, seed=3)
    rows = np.resize(np.arange(430), count)
    images = signs.images[rows].astype(np.float32) / np.float32(255)
    threat = Threat(norm="linf", epsilon=4 / 255)
    for name in ("pgd", "apgd_ce"):
        budget = Budget(5, 1, 7, BATCH)
        ATTACKS[name](classifier, images, signs.labels[rows], threat, budget, np.arange(count))  # type: ignore[arg-type]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    found = {
        count: int(subprocess.check_output([sys.executable, __file__, str(count)], text=True).split()[-1])
        for count in (FEW, MANY)
    }
    grown = (found[MANY] - found[FEW]) / (MANY - FEW)
    record = {
        "peak_mib": {str(count): round(peak / 1024) for count, peak in found.items()},
        "kib_for_each_further_image": round(grown, 2),
        "kib_of_its_arrays": ARRAYS * IMAGE_KIB,
        "batch": BATCH,
    }
    print(json.dumps(record))
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if grown <= 2 * ARRAYS * IMAGE_KIB else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_kib(int(sys.argv[1])))
    else:
        raise SystemExit(main())
