"""What the three profiles cost, counted: images per pass without and with gradients, as `safeml plan` states them.

    python benchmarks/profile_cost.py [MODEL [SHARED]]      # default: resnet-gtsrb, ../shared

The settings are those of the model's safeml.toml, on the held-out half of the GTSRB test images: 6,315 images of about 421 sign tracks.
Nothing is timed, so the load of the machine changes nothing. Counts are upper bounds: an attack stops at an image that it broke.
Writes benchmarks/results/profile_cost.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from safeml.config.audit import load_config
from safeml.data.place import Place
from safeml.planning.plan import make_plan
from safeml.profiles import PROFILES

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "profile_cost.json"


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "resnet-gtsrb"
    shared = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT.parent / "shared"
    settings = ROOT / "models" / model / "safeml.toml"
    config, place = load_config(settings), Place(settings.parent, shared / "data")
    record: dict[str, object] = {"model": model, "images": 6315, "profiles": {}}
    for profile in PROFILES:
        plan = make_plan(config, place, profile=profile, timing=False)
        stages = {
            stage.stage: {"forward_passes": stage.forward_passes, "gradient_steps": stage.gradient_steps}
            for stage in plan.stages
            if stage.forward_passes or stage.gradient_steps
        }
        counts = {
            "forward_passes": sum(row["forward_passes"] for row in stages.values()),
            "gradient_steps": sum(row["gradient_steps"] for row in stages.values()),
            "stages": stages,
        }
        record["profiles"][profile] = counts  # type: ignore[index]
        print(profile, counts["forward_passes"], counts["gradient_steps"])
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
