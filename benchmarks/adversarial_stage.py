"""Wall time of the standard adversarial stage (1,000 images) of a reference model, in turn with that of an earlier checkout.

    git worktree add FOLDER 7029431
    python benchmarks/adversarial_stage.py FOLDER [MODEL [ROUNDS]]      # resnet-gtsrb, 3

Each run is a child process on an empty run folder, with the same interpreter and packages; FOLDER comes first on its module path.
The settings are those of the model's folder: full ensemble at L-inf 4/255, fast attacks at five more threats, DDN and APGD-PM where the
checkout has them. The seconds are those that the run records for the stage. An idle machine is needed: about 20 minutes a round on two cores.
The record is benchmarks/results/adversarial_stage.json.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "adversarial_stage.json"
SHARED = Path(os.environ.get("SAFEML_SHARED", ROOT.parent / "shared"))
THREAT = re.compile(r"robust_accuracy\.(linf_\d+|l2_[\d.]+)")
# All that both checkouts know; the other stages of the earlier one are few and not counted.
SETTINGS = """
[model]
path = "{model}"
name = "{name}"

[data.test]
kind = "npz"
path = "gtsrb/test.npz"
frames_per_sign = 15

[run]
seed = 7

[stages.adversarial]
images = 1000
full_ensemble = ["linf_4"]

[stages.physical]
enabled = false

[[gates]]
id = "robust-linf-4"
title = "Accuracy under the worst attack, L-inf 4/255"
stage = "adversarial"
metric = "robust_accuracy.linf_4"
op = ">="
threshold = 0.60
rationale = "Of the benchmark."
"""


def run(checkout: Path, model: str, only: bool) -> dict[str, Any]:
    """Audit once with the code of a checkout; return the seconds of the stage and robust accuracy by threat."""
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder) / "safeml.toml", Path(folder) / "run"
        config.write_text(SETTINGS.format(model=ROOT / "models" / model, name=model), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "safeml.cli.main",
            "audit",
            "--config",
            config,
            "--out",
            out,
            "--exit-zero",
        ]
        command += ["--data-root", SHARED / "data", *(["--only", "adversarial"] if only else [])]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(
            [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{checkout}: the audit ended with {done.returncode}: {done.stderr[-2000:]}")
        times = json.loads((out / "run.json").read_text(encoding="utf-8"))
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    [stage] = [each for each in results["stages"] if each["stage"] == "adversarial"]
    return {
        "seconds": times["seconds"]["adversarial"],
        "robust_accuracy": {
            match[1]: metric["value"]
            for metric in stage["metrics"]
            if (match := THREAT.fullmatch(metric["name"]))
        },
    }


def main(earlier: Path, model: str, rounds: int) -> None:
    if not (SHARED / "data" / "gtsrb" / "test.npz").is_file() or not (earlier / "safeml").is_dir():
        print("skipped: the test images of GTSRB or the earlier checkout are not there")
        return
    commit = subprocess.run(
        ["git", "-C", str(earlier), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    runs: dict[str, list[dict[str, Any]]] = {"now": [], commit: []}
    for _ in range(rounds):
        runs["now"].append(run(ROOT, model, only=True))
        runs[commit].append(run(earlier, model, only=False))
        print(json.dumps({name: each[-1] for name, each in runs.items()}), flush=True)
    seconds = {name: statistics.median(each["seconds"] for each in of) for name, of in runs.items()}
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    record[model] = {
        "runs": runs,
        "median_seconds": seconds,
        "now_over_earlier": round(seconds["now"] / seconds[commit], 3),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("skipped: name the folder of an earlier checkout; the head of this script says how to make one")
    else:
        main(
            Path(sys.argv[1]).resolve(),
            sys.argv[2] if len(sys.argv) > 2 else "resnet-gtsrb",
            int(sys.argv[3]) if len(sys.argv) > 3 else 3,
        )
