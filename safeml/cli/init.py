"""`safeml init`: a settings file whose gates the given data can feed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeml.cli.data_options import (
    ClassesOption,
    ClassTableOption,
    DecodeOption,
    LabelOrderOption,
    data_keys,
)
from safeml.cli.paths import check_name, check_room, from_folder
from safeml.errors import MissingInput

if TYPE_CHECKING:
    from safeml.results import Accepted, Gate
    from safeml.settings.targets import TargetSettings


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)


def init(
    model: Annotated[
        str,
        typer.Option(
            help="The trained model: a file or folder accepted by `safeml scan`, or the folder of `safeml quantize` and `safeml export`."
        ),
    ],
    data: Annotated[
        str, typer.Option(help="The test data: an .npz file, a GTSRB folder, or a folder per class.")
    ],
    train: Annotated[
        str, typer.Option(help="The training data; without them, leakage cannot be measured.")
    ] = "",
    valid: Annotated[str, typer.Option(help="The validation data.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("safeml.toml"),
    frames_per_sign: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Frames per physical sign (when unsure, of the largest track), if the data have no track ids.",
        ),
    ] = None,
    families: Annotated[str, typer.Option(help="A CSV file with the columns class and family.")] = "",
    groups: Annotated[
        str,
        typer.Option(help="A CSV file with the column image and a column for each grouping, such as camera."),
    ] = "",
    costs: Annotated[
        str, typer.Option(help="A CSV file with the columns true, predicted and cost (0 to 1).")
    ] = "",
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="An output of a regression model, as NAME:UNIT:LOWEST:HIGHEST or NAME:UNIT:LOWEST:HIGHEST:TOLERANCE; once for each output, in their order."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    label_order: LabelOrderOption = None,
    class_table: ClassTableOption = None,
    classes: ClassesOption = None,
    decode: DecodeOption = None,
) -> None:
    """Write a settings file with the default gates that these data can feed, for you to edit.

    A default gate that no model could pass with these data becomes an accepted entry with its reason and without an owner.
    """
    from safeml.defaults import data_kind, new_config
    from safeml.export.artefact import exported
    from safeml.store.files import atomic_write

    check_room(out, force)
    given = [model, data, *filter(None, (train, valid, families, groups, costs))]
    check_name(*given)
    for path in given:
        check_there(path)
    here = out.parent
    targets = [given_target(text) for text in target or ()]
    keys = data_keys(label_order, class_table, classes, decode)
    if class_table is not None:
        keys["class_table"] = from_folder(str(class_table), here)

    def beside(path: str) -> str:
        return from_folder(path, here) if path else ""

    found = exported(Path(model))
    of_export: dict[str, Any] = {}
    if found is not None:
        model = str(found.file)
        of_export = {
            "contract": found.contract,
            "gradients": beside(str(found.gradients or "")),
            "reference": beside(str(found.reference or "")),
        }

    def text(gates: Sequence[Gate] | None = None, accepted: Sequence[Accepted] | None = None) -> str:
        return new_config(
            from_folder(model, here),
            from_folder(data, here),
            frames_per_sign,
            data_kind(data),
            data_keys=keys,
            train=beside(train),
            valid=beside(valid),
            families=beside(families),
            groups=beside(groups),
            costs=beside(costs),
            gates=gates,
            accepted=accepted,
            targets=targets,
            **of_export,
        )

    gates, accepted = limits(text(), out)
    atomic_write(out, text(gates, accepted))
    typer.echo(f"{out} written. Next: safeml plan --config {out}")


def given_target(text: str) -> TargetSettings:
    """Return the target of an option `--target`. Raises ConfigError for another form."""
    from safeml.errors import ConfigError
    from safeml.settings.base import validated
    from safeml.settings.targets import TargetSettings

    name, *rest = text.split(":")
    try:
        unit, *numbers = rest
        low, high, *tolerance = map(float, numbers)
        limit = tolerance.pop() if tolerance else None
        if tolerance:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f'--target {text[:80]}: expected NAME:UNIT:LOWEST:HIGHEST, and :TOLERANCE where there is one, such as "tilt:degrees:-25:25:5".'
        ) from None
    values = {"name": name, "unit": unit, "range": (low, high), "tolerance": limit}
    return validated(TargetSettings, values, f"--target {text[:80]}")


def check_there(path: str) -> None:
    """Raise MissingInput if there is nothing at `path`."""
    if not os.path.lexists(path):
        raise MissingInput(f"{path}: there is no such file or folder.")


def limits(text: str, out: Path, err: bool = False) -> tuple[tuple[Gate, ...], tuple[Accepted, ...]]:
    """Return the gates and accepted entries for the settings `text` of the file `out`, and print what was replaced.

    err: print to standard error.
    """
    import tomllib

    from safeml.cli.show import plain
    from safeml.config.audit import parse_config
    from safeml.data.place import Place
    from safeml.planning.defaults import default_limits
    from safeml.stages import STAGES

    made = default_limits(parse_config(tomllib.loads(text), str(out)), Place(out.parent))
    gates, accepted = made.gates, made.accepted
    if not made.clustered:
        typer.echo(
            "  The data have no track ids, so nothing about accuracy can be proven; set --frames-per-sign (1 if all images are "
            "independent).",
            err=err,
        )
    if not made.fed:
        typer.echo(
            "  These data can prove none of the default gates, so all were written as they are; `safeml plan` says what each needs.",
            err=err,
        )
    read = {(gate.stage, gate.metric, gate.slice): gate.id for stage in STAGES for gate in stage.gates}
    for entry in accepted:
        gate = read.get((entry.stage, entry.metric, entry.slice))
        if gate:
            typer.echo(
                plain(f"  {gate}: accepted instead of gated, without an owner. {entry.reason}"), err=err
            )
    return gates, accepted
