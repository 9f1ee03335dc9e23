"""How much processor time 10,000 rendered signs take on one core: run it, and it writes results/rendered_signs.json beside itself."""

import json
import os
import platform
import time
from pathlib import Path

# Before numpy is imported: the claim is about one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import PIL  # noqa: E402

from safeml.data.rendered import render  # noqa: E402

IMAGES = 10_000
FRAMES = 10
LIMIT_SECONDS = 30.0


def main() -> None:
    wall, processor = time.perf_counter(), time.process_time()
    data = render(IMAGES, seed=0, frames_per_sign=FRAMES)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    result = {
        "images": len(data),
        "image_shape": list(data.images.shape[1:]),
        "classes_present": len(np.unique(data.labels)),
        "frames_per_sign": FRAMES,
        "wall_seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "limit_processor_seconds": LIMIT_SECONDS,
        "within_limit": processor < LIMIT_SECONDS,
        "threads": 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "machine": platform.machine(),
    }
    path = Path(__file__).parent / "results" / "rendered_signs.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text(), end="")


if __name__ == "__main__":
    main()
