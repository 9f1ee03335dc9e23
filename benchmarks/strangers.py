"""Claim: models that strangers trained are fed as their authors meant it: the contract that their code documents is proposed first.

    python benchmarks/strangers.py [SHARED]      # default: ../shared

SHARED holds models_third_party/ with the three folders named below, found in public repositories and not part of this one, and
data/gtsrb/test.npz. Each goes through
`safeml inspect` and `safeml audit` (quick profile) as a user would run them. Expected is what the author's code documents, and
the accuracy that was measured with it by other code.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "strangers.json"
FRAMES_PER_SIGN = "15"
# file, channels, range, accuracy on the 6,315 test images at 32 x 32
EXPECTED = (
    ("AlexDieterr-TrafficSignNN/model.keras", "rgb", [0.0, 1.0], 0.9547),
    ("shubham129-Traffic-Sign-Image-Classifier/model.h5", "rgb", [0.0, 255.0], 0.9607),
    ("yasar-beg368-traffic_sign_recognition/model.h5", "bgr", [0.0, 1.0], 0.9685),
)


def main(shared: Path) -> int:
    models, data = shared / "models_third_party", shared / "data" / "gtsrb" / "test.npz"
    rows = [row(models / file, data, *expected) for file, *expected in EXPECTED]
    for found in rows:
        print(json.dumps(found))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(found["proposed_first"] and abs(found["difference"]) <= 0.003 for found in rows) else 1


def row(model: Path, data: Path, channels: str, ends: list[float], known: float) -> dict[str, Any]:
    """Inspect and audit one model; what came out beside what is known."""
    with tempfile.TemporaryDirectory() as folder:
        settings, report = Path(folder) / "safeml.toml", Path(folder) / "report"
        began = time.monotonic()
        found = json.loads(
            safeml(
                "inspect",
                model,
                "--data",
                data,
                "--frames-per-sign",
                FRAMES_PER_SIGN,
                "--out",
                settings,
                "--json",
            )
        )
        seconds = time.monotonic() - began
        safeml("audit", "--config", settings, "--profile", "quick", "--out", report, "--exit-zero")
        run = json.loads((report / "results.json").read_text())
    winner, runner_up = found["winner"], found["runner_up"]
    [clean] = [
        metric
        for stage in run["stages"]
        for metric in stage["metrics"]
        if (metric["name"], metric["slice"]) == ("clean_accuracy", "all")
    ]
    return {
        "model": model.parent.name,
        "format": model.suffix,
        "notes": run["model"]["notes"],
        "proposed": winner["name"],
        "proposed_first": (winner["settings"]["channels"], winner["settings"]["range"]) == (channels, ends),
        "warnings": found["warnings"],
        "runner_up": runner_up["name"],
        "lost_by_runner_up": [runner_up["drop"][key] for key in ("value", "low", "high")],
        "images_needed": found["rounds"][-1],
        "accuracy_under": {tried["name"]: tried["accuracy"]["value"] for tried in found["tried"][:14]},
        "accuracy": clean["value"],
        "interval": [clean["low"], clean["high"]],
        "known_accuracy": known,
        "difference": clean["value"] - known,
        "verdict": run["verdict"]["status"],
        "inspect_seconds": round(seconds, 1),
    }


def safeml(*arguments: object) -> str:
    command = [sys.executable, "-m", "safeml.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} left with {done.returncode}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "shared"
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
