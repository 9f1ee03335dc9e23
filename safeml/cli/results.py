"""`safeml gate`, `safeml report` and `safeml schema`: the commands on results, without a framework."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.audit import ACCEPT_QUICK, BASELINE
from safeml.cli.outputs import GITHUB, JSON, JUNIT, SARIF, check_outputs, publish
from safeml.errors import ConfigError
from safeml.waivers import today_utc

if TYPE_CHECKING:
    from safeml.config.audit import Config
    from safeml.results import Run

RESULTS = typer.Argument(help="A results.json or its run folder.")
CONFIG = typer.Option(
    "--config",
    "-c",
    help="Use the gates and accepted entries of this settings file instead of the recorded ones.",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(gate)
    app.command()(report)
    app.command()(schema)


def gate(
    results: Annotated[Path, RESULTS],
    config: Annotated[Path | None, CONFIG] = None,
    accept_quick: Annotated[bool, ACCEPT_QUICK] = False,
    baseline: Annotated[Path | None, BASELINE] = None,
    as_json: Annotated[bool, JSON] = False,
    github: Annotated[bool, GITHUB] = False,
    sarif: Annotated[Path | None, SARIF] = None,
    junit: Annotated[Path | None, JUNIT] = None,
) -> None:
    """Decide again from recorded evidence. The exit code is the verdict; only the requested files are written.

    With other limits, or today's waivers, the recorded verdict is printed beside the new one.
    """
    from safeml.cli.show import plain
    from safeml.verdict_text import verdict_line

    check_outputs(sarif, junit)
    settings = _configured(config)
    recorded_run = recorded(results)
    run = _decided_again(recorded_run, settings, today_utc(), accept_quick, baseline)
    publish(run, None, config, as_json, github, sarif, junit)
    if verdict_line(run) != verdict_line(recorded_run) or settings is not None:
        typer.echo(plain(f"Recorded, and unchanged in {results}: {verdict_line(recorded_run)}"), err=as_json)
    raise typer.Exit(run.verdict.exit_code)


def report(
    results: Annotated[Path, RESULTS],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The output folder; default: the folder of the results, with --config a new folder in it.",
        ),
    ] = None,
    config: Annotated[Path | None, CONFIG] = None,
) -> None:
    """Write the report again from recorded results, without model, data or framework.

    With the limits of another settings file, the report is written beside the recorded verdict, never over it.
    """
    from safeml.cli.paths import check_name
    from safeml.cli.show import plain
    from safeml.cli.signing import say_stale
    from safeml.errors import InputRefused
    from safeml.recorded_verdict import follows
    from safeml.report.write import write_report
    from safeml.store.files import atomic_write, make_folder, read_times, to_json
    from safeml.waivers import expired

    settings = _configured(config)
    run = recorded(results, signature=False)
    if out:
        check_name(out)
    times = read_times(results)
    day = times.started[:10] if times else today_utc()
    if not follows(run, day):
        raise InputRefused(
            f"{results}: the verdict does not follow from the evidence and gates on {day}, so the file was edited; audit again "
            "or run `safeml gate`."
        )
    here = results if results.is_dir() else results.parent
    folder = here
    if settings is not None:
        run = _decided_again(run, settings, day, False, None)
        folder = here / f"limits-{_key(run)}"
    folder = make_folder(out or folder)
    if folder.resolve() != here.resolve():
        _refuse_other(folder, run)
        atomic_write(folder / "results.json", to_json(run))
        if times:
            atomic_write(folder / "run.json", to_json(times))
    elif settings is not None:
        raise ConfigError(
            f"{folder}: holds the recorded verdict, which other limits never replace; set another folder with --out."
        )
    write_report(run, folder, times)
    for sentence in expired(run, today_utc()):
        typer.echo(plain(f"EXPIRED: {sentence}"), err=True)
    say_stale(folder)
    typer.echo(folder / "index.html")


def _refuse_other(folder: Path, run: Run) -> None:
    """Raise ConfigError if `folder` holds another run, or this one with other limits."""
    from safeml.store.run_folder import refuse_other_limits, refuse_other_run

    data = run.test_data
    if data is not None:  # a training alone has no verdict to replace
        refuse_other_run(folder, run.model.fingerprint, data.fingerprint, run.profile)
    refuse_other_limits(folder, run.gates, run.requirements)


def _configured(config: Path | None) -> Config | None:
    from safeml.config.audit import load_config

    return load_config(config) if config else None


def _decided_again(
    run: Run, settings: Config | None, day: str, accept_quick: bool, baseline: Path | None
) -> Run:
    """Return the run with the verdict of today's rules, by the limits of `settings` or its own.

    Limits that are looser than those of the run, or of the baseline, are recorded. With a baseline, the losses against it
    replace the recorded ones.
    """
    from safeml.loosening import loosened_since
    from safeml.recorded_verdict import decide_again

    gates = run.gates if settings is None else list(settings.gates)
    accepted = run.accepted if settings is None else list(settings.accepted)
    requirements = run.requirements if settings is None else list(settings.requirements)
    changes = loosened_since(run, gates, requirements)
    if baseline is not None:
        from safeml.comparison.baseline import compared_again

        earlier = recorded(baseline)
        more = loosened_since(earlier, gates, requirements)
        changes += [change for change in more if change not in changes]
        table = settings.baseline if settings is not None else None
        run = compared_again(run, earlier, gates, table.largest_loss if table is not None else None)
    made = run.model_copy(
        update={
            "accept_quick": run.accept_quick or accept_quick,
            "gates": gates,
            "accepted": accepted,
            "requirements": requirements,
            "loosened": changes,
        }
    )
    return made.model_copy(update={"verdict": decide_again(made, day)})


def _key(run: Run) -> str:
    """Return the first digits of a key of the limits of a run."""
    from safeml.store.files import content_key

    return content_key(
        [entry.model_dump(mode="json") for entry in (*run.gates, *run.accepted, *run.requirements)]
    )[:10]


def recorded(results: Path, signature: bool = True) -> Run:
    """Read the run at `results`; a pipe or a device, which may never end, is refused before reading.

    signature: print a sentence where the one beside the results is stale.
    """
    from safeml.cli.paths import check_name
    from safeml.cli.signing import say_stale
    from safeml.errors import InputRefused
    from safeml.store.files import read_run

    check_name(results)
    file = results / "results.json" if results.is_dir() else results
    if file.exists() and not file.is_file():
        raise InputRefused(f"{file}: is not a regular file; expected a results.json of `safeml audit`.")
    run = read_run(results)
    if signature and file.name == "results.json":
        say_stale(file.parent)
    return run


def schema() -> None:
    """Print the JSON Schema of results.json."""
    from safeml.results import Run

    typer.echo(json.dumps(Run.model_json_schema(), indent=1, sort_keys=True))
