"""`safeml plan`: work, duration and provable gates of an audit, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.audit import CONFIG, DATA_ROOT, PROFILE
from safeml.profiles import Profile

if TYPE_CHECKING:
    from rich.table import Table

    from safeml.planning.base import GatePlan, Plan, StagePlan

MARKS = {
    "provable": "yes",
    "depends": "open",
    "waived": "waived",
    "not_provable": "NO",
    "fails": "FAILS",
    "missing": "MISSING",
}
ORDER = ("missing", "fails", "not_provable", "waived", "depends", "provable")
STYLES = {"provable": "green", "not_provable": "bold red", "fails": "bold red", "missing": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(plan)


def plan(
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    model: Annotated[
        Path | None, typer.Option(help="Plan for this model instead of the configured one.")
    ] = None,
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    profile: Annotated[Profile, PROFILE] = "full",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run folder; its stored results are not counted again."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe", help="Open the model and time it; --no-probe starts no framework."
        ),
    ] = True,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=1024, help="Duration with this many workers, each as fast as this machine is now."
        ),
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON and nothing else.")] = False,
) -> None:
    """Show the work and the duration of an audit, and which gates these images can prove. Writes nothing.

    Exit code: 0 for every plan.
    """
    from safeml.cli.paths import check_name
    from safeml.cli.progress import progress_bar
    from safeml.config.audit import load_config
    from safeml.data.place import Place
    from safeml.planning.plan import make_plan
    from safeml.store.files import to_json

    check_name(*filter(None, (model, out)))
    settings = load_config(config)
    place = Place(config.parent, data_root)
    with progress_bar() as progress:
        made = make_plan(settings, place, model, out, profile, probe, progress, workers)
    if as_json:
        typer.echo(to_json(made), nl=False)
    else:
        show(made)


def show(plan: Plan) -> None:
    """Print the gates, the stages and the best possible verdict in 80 columns."""
    from rich.console import Console

    from safeml.cli.show import plain
    from safeml.planning.words import duration
    from safeml.wording import counted

    console = Console(highlight=False, markup=False)
    data = plan.data
    signs = "" if data.signs is None else f", {counted(round(data.signs), 'sign track')}"
    classes = counted(data.classes, "class", "classes")
    console.print(plain(f"Plan of an audit of {plan.model}, profile {plan.profile}"))
    console.print(
        plain(f"{data.name}: {counted(data.images, 'image')}, {classes}{signs} ({data.clustering})")
    )
    console.print()
    console.print(_gates(plan.gates))
    console.print()
    console.print(_stages(plan))
    console.print("forward, gradient: images per pass without and with gradients, at most.", style="dim")
    console.print()
    if plan.first:
        console.print(plain(plan.first))
    if plan.training is not None and plan.training.note:
        console.print(plain(f"Training: {plan.training.note}."))
    if plan.seconds is not None:
        shared = f" with {counted(plan.workers, 'worker')}" if plan.workers > 1 else ""
        console.print(plain(f"About {duration(plan.seconds)}{shared}. {plan.note}"))
    console.print(plain(plan.sentence), style="bold")


def _gates(gates: list[GatePlan]) -> Table:
    """Return the table of gates, worst first."""
    from rich.table import Table
    from rich.text import Text

    from safeml.cli.show import plain
    from safeml.planning.words import limit_words

    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("gate", overflow="fold", ratio=None)
    table.add_column("limit", no_wrap=True, justify="right")
    table.add_column("provable", no_wrap=True)
    table.add_column("with these images", overflow="fold")
    for found in sorted(gates, key=lambda found: ORDER.index(found.state)):
        table.add_row(
            plain(found.gate.id),
            limit_words(found.gate, found.best),
            Text(MARKS[found.state], style=STYLES.get(found.state, "")),
            plain(found.message),
        )
    return table


def _stages(plan: Plan) -> Table:
    """Return the table of stages in running order, without times if none were measured."""
    from rich.table import Table

    from safeml.planning.words import duration

    training = plan.training
    rows: list[tuple[str, ...]] = []
    if training is not None:
        steps = f"{training.epochs * training.steps:,} steps"
        name = f"train {training.recipe}, {training.epochs} epochs"
        rows.append((name, f"{training.images:,}", "", "", steps, duration(training.seconds)))
        if training.first_epoch is not None:
            rows.append(("  of which the first epoch", "", "", "", "", duration(training.first_epoch)))
    rows.append(("open model and data", "", "", "", "", duration(plan.opening)))
    rows.append(("compile", "", "", "", "", duration(plan.compiling)))
    rows += [_row(stage) for stage in plan.stages]
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("work")
    for head in ("images", "signs", "forward", "gradient", "time"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        if any(row[1:]):
            table.add_row(*row)
    return table


def _row(stage: StagePlan) -> tuple[str, ...]:
    from safeml.planning.words import duration

    def count(number: float | None) -> str:
        return f"{round(number):,}" if number else ""

    title = stage.title
    if stage.slices_kept:
        title += f" ({stage.slices_kept} of {stage.slices} slices stored)"
    said = {"off": "off", "done": "done", "idle": "nothing to do"}
    return (
        title,
        count(stage.images),
        count(stage.signs),
        count(stage.forward_passes),
        count(stage.gradient_steps),
        said.get(stage.state) or duration(stage.seconds),
    )
