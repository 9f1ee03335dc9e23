"""The backend "tfmot" on two committed models: quantized in a child process, built again in Keras 3, exported and linted.

    python benchmarks/tfmot_backend.py SHARED [NAME]

SHARED holds data/gtsrb/train.npz and valid.npz; calibration uses training images, agreement is on all validation images. NAME
runs one case and leaves the others in the record. The target: no linter finding, and at least 99 % of equal decisions of TFMOT's
own fake-quantized model and the model that is exported. The record is in benchmarks/results/tfmot_backend.json.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "tfmot_backend.json"
TARGET = 0.99
CHECKS = ("lint", "parity", "emulator", "tensorrt_rtx", "float", "half", "tftrt")


@dataclass(frozen=True)
class Case:
    """A model of models/, and the epochs that TFMOT trains it."""

    model: str
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.model}-{self.epochs}"


CASES = (Case("lenet-gtsrb", 0), Case("lenet-gtsrb", 1), Case("resnet-gtsrb", 0))


def settings(case: Case) -> str:
    """Return the quantize.toml of a case."""
    return f"""name = "{case.name}"
backend = "tfmot"
epochs = {case.epochs}
freeze_epochs = 0
learning_rate = 0.0003
worst_layers = 0
[model]
path = '{ROOT / "models" / case.model}'
[calibration]
observer = "mse"
images = 512
[data.train]
kind = "npz"
path = "gtsrb/train.npz"
[data.valid]
kind = "npz"
path = "gtsrb/valid.npz"
"""


def measured(case: Case, data: Path, folder: Path) -> dict[str, Any]:
    """Return the record of one case."""
    from safeml.data.place import Place
    from safeml.export.build import export
    from safeml.quantization.build import quantize
    from safeml.quantization.inputs import read_inputs

    file = folder / "quantize.toml"
    file.write_text(settings(case), encoding="utf-8")
    out = quantize(read_inputs(file, Place(folder, data)), folder / "out", say=print)
    record = json.loads((out / "quantization.json").read_text(encoding="utf-8"))
    checks = export(out, skip=("litert",)).checks
    tfmot = record["tfmot"]
    agreement = [each["decisions"] for name, each in tfmot["agreement"].items() if name != "images"]
    return {
        **tfmot,
        "epochs": case.epochs,
        "validation": record["validation"],
        "chosen": record["chosen"]["model"],
        "checks": {check.name: [check.status, check.reason] for check in checks if check.name in CHECKS},
        "target_met": min(agreement) >= TARGET
        and not any(check.status == "failed" for check in checks)
        and checks[0].status == "passed",
    }


def main(shared: Path, name: str | None = None) -> None:
    """Measure, print and record."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["cases"] if RESULT.exists() else {}
    for case in CASES:
        if name in (None, case.name):
            with tempfile.TemporaryDirectory() as folder:
                rows[case.name] = measured(case, shared / "data", Path(folder))
    record = {"target_agreement": TARGET, "cases": rows, "python": platform.python_version()}
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
