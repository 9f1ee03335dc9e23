"""What was run and how to run it again: identity, manifest, commands and provenance as facts for the pages."""

from __future__ import annotations

from typing import Any

from safeml.report.resume import resume_sentence, stage_seconds
from safeml.report.signature import SIGNATURE
from safeml.report.text import duration, short_hash, when
from safeml.results import DataIdentity, Fact, Run, RunTimes, StageResult, artefact_path
from safeml.store.files import content_key
from safeml.wording import counted, number


def identity(run: Run, times: RunTimes | None) -> list[Fact]:
    """Model, data, run and the responsible person, for the head of the index."""
    commit = f" · {times.code_commit}" if times and times.code_commit else ""
    return [
        Fact(label="Model", value=run.model.name, detail=f"sha256 {short_hash(run.model.fingerprint)}"),
        _data_fact(run.test_data),
        Fact(
            label="Run",
            value=when(times.started) if times else "date not recorded",
            detail=f"safeml {run.safeml_version}{commit}",
        ),
        Fact(
            label="Responsible",
            value=run.responsible or "not named",
            detail="set run.responsible" if not run.responsible else "",
        ),
    ]


def _data_fact(test: DataIdentity | None) -> Fact:
    if test is None:
        return Fact(label="Data", value="no test data recorded")
    signs = (
        f"about {counted(round(test.signs), 'sign track')} ({test.clustering})"
        if test.signs
        else "sign tracks unknown"
    )
    return Fact(
        label="Data", value=f"{test.name}, {number(test.images)} images, {test.classes} classes", detail=signs
    )


def manifest(run: Run, times: RunTimes | None) -> list[Fact]:
    """Everything that identifies a run; times and hardware where they were recorded."""
    facts = [Fact(label="Model", value=short_hash(run.model.fingerprint), detail="; ".join(run.model.notes))]
    inputs = run.model.input
    facts.append(
        Fact(
            label="Input",
            value=f"{inputs.get('height')} × {inputs.get('width')} {inputs.get('channels')}, {inputs.get('low')} to {inputs.get('high')}",
            detail=f"{_scaling(inputs)}{number(run.model.parameters)} parameters; the file gives {inputs.get('outputs')}",
        )
    )
    facts += [
        Fact(
            label=f"Data, {entry.role}",
            value=short_hash(entry.fingerprint),
            detail=" ".join([f"{entry.name}, {number(entry.images)} images.", *entry.notes])
            if entry.notes
            else f"{entry.name}, {number(entry.images)} images",
        )
        for entry in run.data
    ]
    facts.append(
        Fact(
            label="Configuration",
            value=short_hash(content_key(run.configuration)),
            detail=f"{run.profile} profile",
        )
    )
    facts.append(Fact(label="Seed", value=str(run.configuration.get("run", {}).get("seed", "not recorded"))))
    facts.append(
        Fact(label="Software", value=", ".join(f"{name} {version}" for name, version in run.versions.items()))
    )
    if times:
        facts.append(Fact(label="Hardware", value=", ".join(f"{k} {v}" for k, v in times.hardware.items())))
        total = duration(sum(times.seconds.values()))
        facts.append(
            Fact(
                label="Duration",
                value=total,
                detail=stage_seconds(times, list(dict.fromkeys(stage.stage for stage in run.stages))),
            )
        )
        facts += taken_over(times)
        facts.append(
            Fact(
                label="Model file",
                value=short_hash(times.model_file_sha256),
                detail="sha256 of the file itself",
            )
        )
    return facts


def _scaling(inputs: dict[str, Any]) -> str:
    """How the values are scaled after the input range, as a clause."""
    if inputs.get("standardise"):
        return "then standardised image by image; "
    parts = [
        f"{word} {', '.join(map(str, inputs[key]))}"
        for key, word in (("mean", "minus"), ("std", "divided by"))
        if inputs.get(key)
    ]
    return f"then {' and '.join(parts)}; " if parts else ""


def taken_over(times: RunTimes | None) -> list[Fact]:
    """What was read back from an earlier run of the folder; empty where nothing was."""
    if times is None:
        return []
    text = " ".join([resume_sentence(times.resume), *times.notes]).strip()
    return [Fact(label="Resumed", value=text)] if text else []


def commands(run: Run) -> list[str]:
    """The commands that repeat the run, decide again and draw again."""
    lines = [" ".join(run.command)] if run.command else []
    return [
        *lines,
        "safeml gate .      # decide again from results.json",
        "safeml report .    # draw again, without model, data or framework",
        f"safeml verify . --trust KEY.pub    # if there is a {SIGNATURE}: who signed, and that no file was changed since",
        "",
        "# exit codes: 0 passed · 1 failed · 2 usage · 3 not proven · 4 incomplete · 5 refused",
    ]


def artefacts(stage: StageResult) -> list[Fact]:
    """The files that a stage handed over, with what identifies each."""
    return [
        Fact(
            label=artefact.name,
            value=f"{artefact_path(stage.stage, artefact.name)}, {counted(artefact.bytes, 'byte')}, sha256 {short_hash(artefact.sha256)}",
        )
        for artefact in stage.artefacts
    ]


def provenance(stage: StageResult) -> list[Fact]:
    """What a stage's numbers belong to."""
    made = stage.provenance
    if made is None:
        return []
    return [
        Fact(label="Model", value=short_hash(made.model)),
        Fact(label="Data", value=short_hash(made.data)),
        Fact(label="Seed", value=str(made.seed)),
        Fact(label="Evidence key", value=short_hash(made.key) if made.key else "not recorded"),
    ]
