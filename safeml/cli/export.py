"""`safeml export`: files for TensorRT, TF-TRT and LiteRT from the folder of `safeml quantize`, each with its checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.needs import tensorflow_needed

if TYPE_CHECKING:
    from safeml.export.checks import Check

STATUS = {"passed": "passed", "failed": "FAILED", "not_run": "not run"}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("export")(export_files)


def export_files(
    folder: Annotated[Path, typer.Argument(help="The folder of `safeml quantize`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The output folder; default: the folder itself.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Images to compare on: a .npz file with `images`, float32 as the model takes them.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Fix the batch of the ONNX files; default: any batch."),
    ] = None,
    opset: Annotated[int, typer.Option("--opset", help="Operator set of the ONNX files, 13 to 17.")] = 13,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="Leave out a check and its files; may be repeated.")
    ] = None,
) -> int:
    """Export a quantized model: INT8 and float ONNX, FP16 beside INT8, TF-TRT and LiteRT, and export.json with every check.

    Exit code 1: a check failed, and its file is named rejected.NAME. A check that did not run fails nothing and proves nothing.
    """
    from safeml.cli.paths import check_name

    check_name(folder, *([out] if out else []), *([images] if images else []))
    with tensorflow_needed():
        from safeml.export.build import export

        result = export(folder, out, images, batch, opset, skip or (), show_check)
    for name, size in result.files.items():
        typer.echo(f"{size:>12,} bytes  {name}")
    for name in result.rejected:
        typer.echo(f"    rejected        {name}")
    typer.echo(f"Checks: {result.path}")
    return int(result.exit_code)


def show_check(check: Check) -> None:
    """Print the outcome of a check."""
    typer.echo(f"{STATUS[check.status]:8} {check.name}: {check.reason}", err=True)
