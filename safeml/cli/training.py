"""`safeml train`: checkpoints, a manifest and a training report from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import shown_command

if TYPE_CHECKING:
    from safeml.recipes import Prepared


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(train)


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml.")],
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", envvar="SAFEML_DATA_ROOT", help="Base folder of relative data paths."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The output folder; default: named in the recipe.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Start again, even if the folder holds a training.")
    ] = False,
) -> None:
    """Train a recipe with ModelCheckpoint, and write the best checkpoint, its manifest and a report."""
    from safeml.recipes import training_run
    from safeml.report.write import write_page
    from safeml.store.files import read_times

    prepared = prepared_recipe(recipe, data_root, out or recipe.parent)
    folder = train_recipe(prepared, out or recipe.parent, force)
    times = read_times(folder)
    for note in times.notes if times else ():
        typer.echo(note, err=True)
    typer.echo(f"Report: {write_page(training_run(prepared, folder), folder, times)}")


def prepared_recipe(recipe: Path, data_root: Path | None, *out: Path) -> Prepared:
    """Check the command line, then read the recipe and its data."""
    from safeml.cli.paths import check_name
    from safeml.config.recipe import load_recipe
    from safeml.data.place import Place
    from safeml.recipes import prepare

    load_recipe(recipe)  # an invalid recipe is reported before any other message
    check_name(*out, *([data_root] if data_root else []))
    show_line(f"Reading the data of {recipe}")
    return prepare(recipe, Place(recipe.parent, data_root))


def train_recipe(prepared: Prepared, out: Path, force: bool = False) -> Path:
    """Train into `out` with one line per epoch and return it; a finished result of the same recipe is reused."""
    from safeml.recipes import train as fit_recipe

    with tensorflow_needed():
        return fit_recipe(prepared, out, show_epoch, force, shown_command(), show_line)


def show_line(line: str) -> None:
    """Print a line of progress."""
    typer.echo(line, err=True)


def show_epoch(epoch: dict[str, Any]) -> None:
    """Print the measurements of a finished epoch."""
    measure = "mae" if "mae" in epoch else "accuracy"
    typer.echo(
        f"epoch {epoch['epoch']:3d}  loss {epoch['loss']:.4f}  {measure} {epoch[measure]:.4f}  "
        f"val_loss {epoch['val_loss']:.4f}  val_{measure} {epoch[f'val_{measure}']:.4f}"
        + (f"  attacked {epoch['val_robust_accuracy']:.4f}" if "val_robust_accuracy" in epoch else ""),
        err=True,
    )
