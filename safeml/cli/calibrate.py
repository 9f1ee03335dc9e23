"""`safeml calibrate`: a model whose logits are scaled, fitted on validation images and written as a .keras file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from safeml.cli.audit import CONFIG, DATA_ROOT
from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import check_room
from safeml.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(calibrate)


def calibrate(
    model: Annotated[
        Path | None, typer.Argument(help="The model to scale; default: model.path of the settings.")
    ] = None,
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    method: Annotated[
        Literal["temperature", "vector"],
        typer.Option(help="temperature never changes the predicted class; vector may."),
    ] = "temperature",
    out: Annotated[Path, typer.Option("--out", "-o", help="The .keras file to write.")] = Path(
        "scaled.keras"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Fit temperature or vector scaling on one half of the validation signs, and write the model with it as a layer."""
    import tempfile

    from safeml.cli.progress import progress_bar
    from safeml.config.audit import load_config
    from safeml.data.place import Place
    from safeml.store.files import atomic_write

    settings = load_config(config)
    if model is None and not settings.model.path:
        made = "recipe" if settings.model.recipe else "quantize"
        raise ConfigError(
            f"{config}: model.{made} is set, not model.path; name the model to scale, a Keras file."
        )
    if out.suffix != ".keras":
        raise ConfigError(f"{out}: does not end in .keras; set such a name with --out.")
    check_room(out, force)
    with tensorflow_needed(), progress_bar() as progress:
        from safeml.audits.calibration.saving import check_scaled, scaled_model
        from safeml.classifiers.load import load_model
        from safeml.classifiers.scaled import keras_bytes
        from safeml.subject import open_subject

        path = model or config.parent / settings.model.path
        subject = open_subject(settings, Place(config.parent, data_root), path, progress)
        scaled = scaled_model(subject.inputs, method)
        content = keras_bytes(scaled.model)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / out.name
            copy.write_bytes(content)
            names = subject.inputs.test.class_names
            again = load_model(copy).model.fed(settings.model.input, names, out.stem)
        check_scaled(again, subject.inputs, scaled, method)
        subject.check_unchanged()
        atomic_write(out, content)
    for finding in scaled.findings:
        typer.echo(f"{finding.message} {finding.remedy}", err=True)
    what = "Vector scaling" if scaled.temperature is None else f"Temperature {scaled.temperature:.4g}"
    typer.echo(
        f"{what}, fitted on {scaled.images:,} validation images: NLL {scaled.before:.4g} before, {scaled.after:.4g} after on "
        f"these images; the predicted class of {scaled.changed:,} changed."
    )
    typer.echo(f"{out} written. Next: safeml audit --config {config} --model {out}")
