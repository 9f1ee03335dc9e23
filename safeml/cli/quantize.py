"""`safeml quantize`: an INT8 model from a trained Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.export import show_check
from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import check_name, shown_command
from safeml.cli.training import show_epoch, show_line

if TYPE_CHECKING:
    from safeml.config.audit import Config
    from safeml.config.quantization import QuantizeSettings


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(quantize)


def quantize(
    settings: Annotated[Path, typer.Argument(help="A quantize.toml.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The output folder; default: the folder of the settings."),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", envvar="SAFEML_DATA_ROOT", help="Base folder of relative data paths."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Start again, even if the folder holds a quantization.")
    ] = False,
) -> None:
    """Calibrate a Keras model to INT8, train it further if the settings say so, and keep the better one by validation."""
    from safeml.config.quantization import load_quantize_settings
    from safeml.data.place import Place
    from safeml.quantization.build import quantize as build
    from safeml.quantization.inputs import read_inputs

    folder = out or settings.parent
    content = load_quantize_settings(settings)  # invalid settings are reported before any other message
    check_name(folder, *([data_root] if data_root else []))
    trained = _trained(settings, content, folder, data_root)
    show_line(f"Reading the data of {settings}")
    inputs = read_inputs(settings, Place(settings.parent, data_root), trained)
    with tensorflow_needed():
        build(inputs, folder, show_epoch, force, shown_command(), show_line)
    typer.echo(f"Written: {folder / 'int8.keras'}, described in {folder / 'quantization.json'}")


def quantized_audit(config: Path, settings: Config, data_root: Path | None) -> Config:
    """Quantize and export by the `quantize.toml` of the settings file `config`; return the settings of the audit of the INT8 file.

    Finished work is reused.
    """
    from safeml.config.quantization import load_quantize_settings
    from safeml.data.place import Place
    from safeml.export import artefact
    from safeml.quantization.inputs import read_inputs
    from safeml.surrogate import check_others

    check_others(settings, Place(config.parent, data_root))
    file = config.parent / settings.model.quantize
    content = load_quantize_settings(file)  # invalid settings are reported before the data are read
    trained = _trained(file, content, config.parent / settings.run.reports, data_root)
    show_line(f"Reading the data of {file}")
    inputs = read_inputs(file, Place(file.parent, data_root), trained)
    artefact.check_settings(settings, inputs)
    folder = artefact.artefact_folder(config.parent / settings.run.reports, inputs)
    with tensorflow_needed():
        artefact.make_artefact(inputs, folder, show_epoch, shown_command(), show_line, show_check)
    return artefact.audit_settings(settings, config.parent, folder, inputs)


def _trained(file: Path, settings: QuantizeSettings, out: Path, data_root: Path | None) -> Path | None:
    """Train the recipe that a `quantize.toml` names into a folder of `out` and return the folder; None if it names a model."""
    if not settings.model.recipe:
        return None
    from safeml.cli.training import prepared_recipe, train_recipe
    from safeml.recipes import trained_folder

    prepared = prepared_recipe(file.parent / settings.model.recipe, data_root)
    return train_recipe(prepared, trained_folder(out, prepared))
