"""A training that is killed 20 times at random moments ends with the weights of one that was left alone.

    python benchmarks/killed_training.py

Writes benchmarks/results/killed_training.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.integration.test_killed_training import chain  # noqa: E402 - tests are no installed package

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = chain(Path(folder), kills=20, seed=1)
    print(json.dumps(found, indent=1))
    target = ROOT / "benchmarks" / "results" / "killed_training.json"
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
