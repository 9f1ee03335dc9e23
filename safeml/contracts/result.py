"""The outcome as a stage and as a run of that stage alone, for the report pages."""

from __future__ import annotations

from pathlib import Path

from safeml import provenance
from safeml.contracts.records import ContractResult, Outcome, Permutation
from safeml.contracts.words import STANDING, interval, percent
from safeml.data.dataset import ImageDataset
from safeml.data.identity import data_identity
from safeml.errors import ExitCode
from safeml.results import (
    Card,
    Column,
    Dot,
    DotPlot,
    Fact,
    Figure,
    Finding,
    Metric,
    ModelIdentity,
    Provenance,
    Run,
    Scalar,
    StageResult,
    Table,
    Verdict,
)
from safeml.version import __version__
from safeml.wording import counted, number

STAGE, TITLE = "contract", "Input contract"
MOST_DOTS = 14
SERIOUS = ("classes", "chance")
LIMITS = (
    STANDING,
    "Only accuracy is compared: a contract that was not tried may fit better than those tried.",
    "Contracts are eliminated one by one, so accuracies of different rounds are on different numbers of images; "
    "only the paired loss compares two contracts on the same images.",
)


def stage_result(outcome: Outcome) -> StageResult:
    """Return the outcome as the records of a stage page."""
    return StageResult(
        stage=STAGE,
        title=TITLE,
        tested="The input contract (channel order, value range, class order) of the model, by its accuracy under "
        "each candidate.",
        on_what=_on_what(outcome),
        facts=_facts(outcome),
        metrics=_metrics(outcome),
        findings=_findings(outcome),
        figures=_figures(outcome),
        meaning=[_public(outcome)],
        limits=[
            *LIMITS,
            f"Not tried: {'; '.join(outcome.not_tried)}.",
            *(note for note in outcome.notes if note != STANDING),
        ],
        not_tested=[Fact(label="Not tried", value=entry) for entry in outcome.not_tried],
        reproduce=[
            f"model {outcome.model_fingerprint}",
            f"images {outcome.pixels_fingerprint}",
            f"seed {outcome.seed}, rounds of {', '.join(map(str, outcome.rounds)) or 'no'} images",
        ],
        card=Card(
            headline=outcome.winner.name if outcome.winner else "undecided",
            text="the input contract with the highest accuracy" if outcome.winner else _public(outcome),
            figure_id="contract-accuracy",
        ),
        provenance=Provenance(
            model=outcome.model_fingerprint,
            data=outcome.data_fingerprint,
            settings={"first_images": outcome.rounds[0] if outcome.rounds else 0},
            seed=outcome.seed,
        ),
    )


def contract_run(outcome: Outcome, data: ImageDataset, command: tuple[str, ...] = ()) -> Run:
    """Return the outcome as a run of this stage alone, without gates."""
    winner = outcome.winner
    return Run(
        safeml_version=__version__,
        title=f"Input contract of {Path(outcome.model).name}",
        model=ModelIdentity(
            name=Path(outcome.model).name,
            fingerprint=outcome.model_fingerprint,
            input=winner.settings.model_dump(mode="json") if winner else {},
            parameters=outcome.parameters,
        ),
        data=[data_identity("test", data)],
        stages=[stage_result(outcome)],
        gates=[],
        verdict=Verdict(
            status="incomplete",
            exit_code=int(ExitCode.INCOMPLETE),
            sentence="No gate depends on the input contract.",
            gates=[],
        ),
        versions=provenance.versions(),
        configuration={},
        command=list(command),
    )


def _public(outcome: Outcome) -> str:
    """Return the sentence with the file name instead of the path, which would reveal user and machine."""
    return outcome.sentence.replace(outcome.model, Path(outcome.model).name)


def _on_what(outcome: Outcome) -> str:
    images = f"the {counted(outcome.images, 'labelled image')} of {outcome.data}"
    if not outcome.rounds:
        return f"None of {images}: the model was not run."
    sizes = [number(size) if size < outcome.images else "all" for size in outcome.rounds]
    return f"Rounds on {', then '.join(sizes)} of {images}, drawn at random."


def _row(outcome: Outcome, entry: ContractResult) -> list[Scalar]:
    """Return name, accuracy, low, high, images, loss in words and note of one contract."""
    found, lost = entry.accuracy, entry.drop
    return [
        entry.name,
        found.value if found else None,
        found.low if found else None,
        found.high if found else None,
        found.n if found else 0,
        f"{percent(lost.value)} ({interval(lost.low, lost.high)})" if lost else "",
        _note(outcome, entry),
    ]


def _note(outcome: Outcome, entry: ContractResult) -> str:
    if entry.reason:
        return f"not measured: {entry.reason.replace(outcome.model, Path(outcome.model).name)}"
    if outcome.winner is not None:
        return "proposed" if entry == outcome.winner else "runner-up" if entry == outcome.runner_up else ""
    return "indistinguishable" if entry.name in outcome.same else ""


def _facts(outcome: Outcome) -> list[Fact]:
    winner, runner_up = outcome.winner, outcome.runner_up
    facts = [Fact(label="Contract", value=winner.name if winner else "undecided")]
    for label, entry in (("Accuracy", winner), ("Runner-up", runner_up)):
        if entry is not None and entry.accuracy is not None:
            ends = interval(entry.accuracy.low, entry.accuracy.high)
            detail = ends if entry is winner else f"{entry.name}, {ends}"
            facts.append(Fact(label=label, value=percent(entry.accuracy.value), detail=detail))
    facts.append(Fact(label="Contracts tried", value=number(len(outcome.tried))))
    if outcome.chance is not None:
        facts.append(
            Fact(
                label="Without a model",
                value=percent(outcome.chance),
                detail="always the most frequent class",
            )
        )
    return facts


def _metrics(outcome: Outcome) -> list[Metric]:
    found: list[Metric] = []
    for entry, name, title in (
        (outcome.winner, "contract_accuracy", "Accuracy under the proposed contract"),
        (outcome.runner_up, "runner_up_accuracy", "Accuracy under the runner-up"),
    ):
        if entry is not None and entry.accuracy is not None:
            found.append(entry.accuracy.model_copy(update={"name": name, "title": title}))
    if outcome.runner_up is not None and outcome.runner_up.drop is not None:
        title = "Accuracy loss of the runner-up on the same images, corrected for all comparisons"
        found.append(outcome.runner_up.drop.model_copy(update={"name": "runner_up_loss", "title": title}))
    return found


def _findings(outcome: Outcome) -> list[Finding]:
    if outcome.status == "proposed":
        findings = [Finding(code="contract-proposed", severity="info", message=_public(outcome))]
    else:
        findings = [
            Finding(
                code=f"contract-{outcome.reason}",
                severity="serious" if outcome.reason in SERIOUS else "warning",
                message=_public(outcome),
            )
        ]
    findings += [
        Finding(code="contract-doubt", severity="warning", message=warning) for warning in outcome.warnings
    ]
    return findings


def _figures(outcome: Outcome) -> list[Figure]:
    if not outcome.tried:
        return []
    drawn = [(entry, entry.accuracy) for entry in outcome.tried if entry.accuracy][:MOST_DOTS]
    dots = [
        Dot(label=entry.name, value=found.value, low=found.low, high=found.high, n=found.n)
        for entry, found in drawn
    ]
    figures: list[Figure] = [
        DotPlot(
            id="contract-accuracy",
            title="Accuracy by contract",
            dots=dots,
            overall=outcome.chance,
            caption=f"The best {len(dots)} of {len(outcome.tried)}. The bar is the 95 % interval of that contract alone; "
            "the line is the accuracy of always predicting the most frequent class.",
        ),
        _table(outcome),
    ]
    return [*figures, _permutation_table(outcome.permutation)] if outcome.permutation else figures


def _table(outcome: Outcome) -> Table:
    percents = {"accuracy": "Accuracy", "low": "low", "high": "high"}
    return Table(
        id="contracts",
        title="Contracts",
        columns=[
            Column(key="contract", label="Contract"),
            *(Column(key=key, label=label, kind="percent") for key, label in percents.items()),
            Column(key="images", label="Images", kind="number"),
            Column(key="loss", label="Loss relative to the best"),
            Column(key="note", label="Note"),
        ],
        rows=[_row(outcome, entry) for entry in outcome.tried],
        caption="Each on the images of its last round. Loss: accuracy below that of the best contract of the round, on the same "
        "images; its interval is corrected for all comparisons.",
    )


def _permutation_table(found: Permutation) -> Table:
    return Table(
        id="permutation",
        title="Best permutation of the classes",
        columns=[
            Column(key="output", label="Output", kind="id"),
            Column(key="class", label="Class id", kind="id"),
            Column(key="support", label="Supporting images", kind="number"),
        ],
        rows=[
            [output, label, images]
            for output, (label, images) in enumerate(zip(found.class_of_output, found.support, strict=True))
        ],
        caption="Fitted on one half of the images. It is only displayed, never written as a setting.",
        fold=True,
    )
