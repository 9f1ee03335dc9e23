"""The README's table of stages, made from their rows: `python -m tests.stage_table` writes it."""

from __future__ import annotations

from pathlib import Path

from safeml.results import Gate
from safeml.stages import OWN

README = Path(__file__).parents[1] / "README.md"
# The guides of stages that were written for more than the stage; all others are docs/stages/NAME.md.
GUIDES = {
    "calibration": "docs/calibration.md",
    "monitors": "docs/monitors.md",
    "perturbation": "docs/corruptions.md",
    "quantization": "docs/quantization.md",
}
START, END = "<!-- stages: python -m tests.stage_table -->\n", "<!-- end of stages -->\n"


def table() -> str:
    """Return one line per stage: name, what it measures, default gates."""
    lines = ["| stage | what it measures | default gates |", "|---|---|---|"]
    for stage in OWN:
        gates = ", ".join(_gate(gate) for gate in stage.gates) or "none"
        lines.append(f"| [{stage.name}]({guide(stage.name)}) | {stage.summary} | {gates} |")
    return "\n".join(lines) + "\n"


def guide(name: str) -> str:
    """Return the path of the guide of a stage, from the root of the repository."""
    return GUIDES.get(name, f"docs/stages/{name}.md")


def split(text: str) -> tuple[str, str, str]:
    """Return what is before the table, the table, and what is after it."""
    before, _, rest = text.partition(START)
    inside, _, after = rest.partition(END)
    return before, inside, after


def _gate(gate: Gate) -> str:
    return f"`{gate.metric}` {gate.op} {gate.threshold:g}"


if __name__ == "__main__":
    before, _, after = split(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}{START}{table()}{END}{after}", encoding="utf-8")
