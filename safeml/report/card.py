"""The model card of a run: Markdown with the metadata of Hugging Face, and the same as JSON.

The parts follow M. Mitchell et al., "Model Cards for Model Reporting", 2019. What no measurement says comes from `[card]` of the settings,
and is *not stated* without it.
"""

from __future__ import annotations

import json
from typing import Any

from safeml.report.markdown import escape, gate_table
from safeml.report.text import LONGEST_TEXT
from safeml.results import BASELINE, GateResult, Run
from safeml.verdict_text import title_of, verdict_line

MARKDOWN, JSON = "model-card.md", "model-card.json"
NOT_STATED = "not stated"
# Names of Hugging Face's evaluation metrics; others keep our name.
HUGGING_FACE = {"clean_accuracy": "accuracy"}


def card_data(run: Run) -> dict[str, Any]:
    """Return the model card as plain data, JSON-able; a number that was not measured is null with its reason."""
    test = run.test_data
    inputs = run.model.input
    return {
        "model": {
            "name": run.model.name,
            "fingerprint": run.model.fingerprint,
            "parameters": run.model.parameters,
            "input": {
                key: inputs.get(key)
                for key in ("height", "width", "channels", "low", "high", "mean", "std", "standardise")
            },
            "notes": run.model.notes,
        },
        "stated": {key: value or None for key, value in run.card.model_dump().items()},
        "responsible": run.responsible or None,
        "verdict": {
            "status": run.verdict.status,
            "exit_code": run.verdict.exit_code,
            "profile": run.profile,
            "sentence": run.verdict.sentence,
            "detail": run.verdict.detail,
        },
        "data": [
            entry.model_dump(mode="json", include={"role", "name", "fingerprint", "images", "signs"})
            for entry in run.data
        ],
        "test_data": test.name if test else None,
        "gates": [_gate(result) for result in run.verdict.gates],
        "not_gated": [entry.message for entry in run.verdict.ungated],
        "requirements": [
            {"id": entry.requirement.id, "text": entry.requirement.text, "status": entry.status}
            for entry in run.verdict.requirements
        ],
        "limits": _limits(run),
        "not_tested": _not_tested(run),
        "safeml": run.safeml_version,
    }


def card_json(run: Run) -> str:
    """Return the model card as JSON."""
    return json.dumps(card_data(run), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def card_markdown(run: Run) -> str:
    """Return the model card as Markdown; the head is the metadata that Hugging Face reads. Every user's string is escaped."""
    card = run.card
    lines = [
        "---",
        *(f"{key}: {as_yaml(value)}" for key, value in _metadata(run).items()),
        "---",
        "",
        f"# {escape(run.model.name)}",
        "",
        f"**{escape(verdict_line(run))}.** {escape(run.verdict.sentence, LONGEST_TEXT)}",
        "",
        *([escape(run.verdict.detail, LONGEST_TEXT), ""] if run.verdict.detail else []),
        "## Use",
        "",
        f"- Intended use: {_stated(card.intended_use)}",
        f"- Out of scope: {_stated(card.out_of_scope)}",
        f"- Licence: {_stated(card.license)}",
        f"- Responsible: {_stated(run.responsible)}",
        f"- Contact: {_stated(card.contact)}",
        "",
        "## Model",
        "",
        f"- Input: {run.model.input.get('height')} × {run.model.input.get('width')} {run.model.input.get('channels')}, "
        f"values {run.model.input.get('low')} to {run.model.input.get('high')}",
        f"- Parameters: {run.model.parameters:,}",
        f"- Fingerprint: `{run.model.fingerprint}`",
        f"- Training data: {_stated(card.training_data)}",
        *(f"- {escape(note, LONGEST_TEXT)}" for note in run.model.notes),
        "",
        "## Evaluation",
        "",
        "A gate passes if the whole 95 % interval is on the right side of its limit. Intervals count sign tracks.",
        "",
        *gate_table(run),
    ]
    for heading, items in (
        ("Measured without a limit", [entry.message for entry in run.verdict.ungated]),
        (
            "Requirements",
            [
                f"{entry.requirement.id} ({entry.status.replace('_', ' ')}): {entry.requirement.text}"
                for entry in run.verdict.requirements
            ],
        ),
        ("Limits", _limits(run)),
        ("Not tested", _not_tested(run)),
    ):
        if items:
            lines += ["", f"## {heading}", "", *(f"- {escape(item, LONGEST_TEXT)}" for item in items)]
    return "\n".join(lines) + "\n"


def as_yaml(value: Any) -> str:
    """Return a value as one line of JSON that YAML 1.1 reads alike, so that no string of the user can leave its place.

    YAML 1.1 reads 1e-05 as a string, because the number has no dot.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_yaml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text


def _metadata(run: Run) -> dict[str, Any]:
    """The metadata of a model card of Hugging Face. Its metrics have no intervals, so the table below is the evidence."""
    test = run.test_data
    measured = [
        result
        for result in run.verdict.gates
        if result.metric is not None and result.metric.value is not None
    ]
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": "image-folder", "name": test.name if test else NOT_STATED, "split": "test"},
            "metrics": [
                {
                    "type": HUGGING_FACE.get(result.gate.metric, result.gate.metric),
                    "name": title_of(result.gate, result.metric),
                    "value": result.metric.value if result.metric else None,
                    "verified": False,
                }
                for result in measured
                if result.gate.subject != BASELINE
            ],
        }
    ]
    return {
        **({"license": run.card.license} if run.card.license else {}),
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "robustness", "safety-report"],
        "model-index": [{"name": run.model.name, "results": results if measured else []}],
    }


def _stated(text: str) -> str:
    return escape(text, LONGEST_TEXT) if text else NOT_STATED


def _gate(result: GateResult) -> dict[str, Any]:
    metric, gate = result.metric, result.gate
    return {
        "id": gate.id,
        "title": title_of(gate, metric),
        "status": result.status,
        "metric": gate.metric,
        "slice": gate.slice,
        "op": gate.op,
        "limit": gate.threshold,
        "value": metric.value if metric else None,
        "low": metric.low if metric else None,
        "high": metric.high if metric else None,
        "images": metric.n if metric else None,
        "signs": metric.signs if metric else None,
        "message": result.message,
    }


def _limits(run: Run) -> list[str]:
    return list(dict.fromkeys(line for stage in run.stages for line in stage.limits))


def _not_tested(run: Run) -> list[str]:
    named = [f"{fact.label}: {fact.value}" for stage in run.stages for fact in stage.not_tested]
    skipped = [f"{stage.title}: {stage.reason}" for stage in run.stages if stage.status != "ok"]
    return list(dict.fromkeys([*skipped, *named]))
