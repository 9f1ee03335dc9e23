"""`safeml init`, `safeml audit` and `safeml run`: from a trained model or a recipe to a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from safeml.cli.data_options import (
    ClassesOption,
    ClassTableOption,
    DecodeOption,
    LabelOrderOption,
    data_keys,
)
from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import check_name, check_room, from_folder, shown_command
from safeml.errors import ConfigError

if TYPE_CHECKING:
    from safeml.config.audit import Config

CONFIG = typer.Option("--config", "-c", help="The settings file.", show_default=True)
DATA_ROOT = typer.Option("--data-root", envvar="SAFEML_DATA_ROOT", help="Base folder of relative data paths.")
PROFILE = typer.Option("--profile", help="quick: fewer images, steps and threats; the same stages and gates.")
OUT = typer.Option("--out", "-o", help="The run folder; default: named by model and content.")
FORCE = typer.Option("--force", help="Replace the results of another run in the folder.")
EXIT_ZERO = typer.Option(
    "--exit-zero", help="Exit with 0 once the report is written, whatever the verdict, which is printed."
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)
    app.command()(audit)
    app.command()(run)


def init(
    model: Annotated[
        str, typer.Option(help="The trained model: a file or folder accepted by `safeml scan`.")
    ],
    data: Annotated[
        str, typer.Option(help="The test data: an .npz file, a GTSRB folder, or a folder per class.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("safeml.toml"),
    frames_per_sign: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Frames per physical sign (when unsure, of the largest track), if the data have no track ids.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    label_order: LabelOrderOption = None,
    class_table: ClassTableOption = None,
    classes: ClassesOption = None,
    decode: DecodeOption = None,
) -> None:
    """Write a settings file with the default gates, for you to edit."""
    from safeml.defaults import data_kind, new_config
    from safeml.store.files import atomic_write

    check_room(out, force)
    model_path, data_path = from_folder(model, out.parent), from_folder(data, out.parent)
    keys = data_keys(label_order, class_table, classes, decode)
    if class_table is not None:
        keys["class_table"] = from_folder(str(class_table), out.parent)
    atomic_write(out, new_config(model_path, data_path, frames_per_sign, data_kind(data), data_keys=keys))
    typer.echo(f"{out} written. Next: safeml audit --config {out}")


def audit(
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    model: Annotated[
        Path | None, typer.Option(help="Audit this model instead of the configured one.")
    ] = None,
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    profile: Annotated[Literal["full", "quick"], PROFILE] = "full",
    out: Annotated[Path | None, OUT] = None,
    exit_zero: Annotated[bool, EXIT_ZERO] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Audit a trained model: stages, gates, verdict and HTML report."""
    from safeml.config.audit import load_config

    settings = load_config(config)
    if model is None and not settings.model.path:
        raise ConfigError(
            f"{config}: model.recipe is set, not model.path; use `safeml run`, which trains the model first."
        )
    path = model or config.parent / settings.model.path
    _audit(config, settings, path, data_root, profile, out, exit_zero, force)


def run(
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    profile: Annotated[Literal["full", "quick"], PROFILE] = "full",
    out: Annotated[Path | None, OUT] = None,
    exit_zero: Annotated[bool, EXIT_ZERO] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Train the configured recipe, unless its model exists already, then audit."""
    from safeml.config.audit import load_config

    settings = load_config(config)
    if settings.model.recipe:
        from safeml.cli.training import prepared_recipe, train_recipe
        from safeml.data.place import Place
        from safeml.recipes import trained_folder
        from safeml.surrogate import check_surrogate

        check_surrogate(settings, Place(config.parent, data_root))  # before hours of training
        recipe = config.parent / settings.model.recipe
        prepared = prepared_recipe(recipe, data_root)
        folder = trained_folder(config.parent / settings.run.reports, prepared)
        path = train_recipe(prepared, folder)
    else:
        path = config.parent / settings.model.path
    _audit(config, settings, path, data_root, profile, out, exit_zero, force)


def _audit(
    config: Path,
    settings: Config,
    model: Path,
    data_root: Path | None,
    profile: str,
    out: Path | None,
    exit_zero: bool,
    force: bool,
) -> None:
    """Audit with `settings`, already read from the file `config` and checked."""
    from safeml import pipeline
    from safeml.cli.show import progress_bar, show_verdict
    from safeml.data.place import Place
    from safeml.report.write import write_report

    if data_root is not None:
        check_name(data_root)
    place = Place(config.parent, data_root)
    with tensorflow_needed(), progress_bar() as progress:
        result, _, folder = pipeline.audit(
            settings,
            place,
            model,
            out,
            profile,
            shown_command(),
            progress,
            force=force,
            finish=lambda run, times, folder: write_report(run, folder, times),
        )
    show_verdict(result, folder)
    raise typer.Exit(0 if exit_zero else result.verdict.exit_code)
