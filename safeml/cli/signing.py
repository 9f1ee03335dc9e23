"""`safeml sign` and `safeml verify`: who released a report, and that no file of it was changed since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.keys import password_of, public_keys
from safeml.cli.paths import check_name
from safeml.waivers import today_utc

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from safeml.config.audit import Config
    from safeml.report.statement import ReportStatement

RUN = typer.Argument(help="The run folder of `safeml audit`.")
KEY = typer.Option("--key", help="The private key that signs, of `safeml keys new`; may be repeated while keys are rotated.")  # fmt: skip
TRUST = typer.Option("--trust", help="A public key (KEY.pub); one of the given keys must have signed. May be repeated.")  # fmt: skip
FORCE = typer.Option("--force", help="Replace a signature of the present content.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(sign)
    app.command()(verify)


def sign(
    run: Annotated[Path, RUN], key: Annotated[list[Path], KEY], force: Annotated[bool, FORCE] = False
) -> None:
    """Sign the report of a finished run, whatever its verdict: all files of the folder that a reader sees.

    A signature is no approval: it says who released which report. Another run or another drawing makes it stale.
    """
    check_name(run, *key)
    sign_folder(run, report_keys(key), force=force)


def verify(run: Annotated[Path, RUN], trust: Annotated[list[Path], TRUST]) -> None:
    """Check who signed a report, and that no file of it was changed, removed or added since.

    Exit code 0: the signature holds; the verdict is printed and is no part of the exit code. 5: it does not hold.
    """
    from safeml.bundle.report_signing import verify_report

    check_name(run, *trust)
    keys = public_keys(trust)
    verified = verify_report(run, keys)
    for key in keys:
        if key.keyid in verified.keyids:
            typer.echo(f"  signed    {key.keyid}  {key.file}")
    for keyid in verified.others:
        typer.echo(f"  signed    {keyid}  not verified: no --trust names this key")
    _show(verified.statement)
    for name in verified.not_covered:
        typer.echo(f"  NOT COVERED  {name}")
    typer.echo("The signature holds. It says who released this report, not that its limits are right.")


def report_keys(paths: list[Path]) -> list[Ed25519PrivateKey]:
    """Read the private keys, before any work. Raises as `safeml.bundle.signing.load_key`."""
    from safeml.bundle.signing import load_key

    return [load_key(path, password_of(path)) for path in paths]


def configured_keys(config: Path, settings: Config, key: Path | None) -> list[Ed25519PrivateKey]:
    """Return the key of --sign-key, else of the table [sign], else none."""
    if key is not None:
        check_name(key)
    path = key or (config.parent / settings.sign.key if settings.sign.key else None)
    return report_keys([path]) if path is not None else []


def sign_folder(folder: Path, keys: list[Ed25519PrivateKey], *, force: bool, quiet: bool = False) -> None:
    """Sign a report and print what was signed."""
    from safeml.bundle.report_signing import sign_report
    from safeml.bundle.signing import key_id, public_bytes
    from safeml.report.signature import SIGNATURE

    statement = sign_report(folder, keys, today_utc(), replace=force)
    for key in keys:
        typer.echo(f"{folder / SIGNATURE} written, signed by {key_id(public_bytes(key))}", err=quiet)
    _show(statement, quiet)


def say_stale(folder: Path) -> None:
    """Print one sentence where the signature in a run folder is of other content."""
    from safeml.cli.show import plain
    from safeml.report.signature import stale_sentence

    sentence = stale_sentence(folder)
    if sentence:
        typer.echo(plain(f"SIGNATURE: {sentence}"), err=True)


def _show(statement: ReportStatement, quiet: bool = False) -> None:
    from safeml.cli.show import plain
    from safeml.verdict_text import line_of

    ours = statement.claims.ours
    verdict = line_of(ours["verdict"], ours["exit_code"], ours["profile"], ours["accept_quick"])
    size = sum(one.size or 0 for one in statement.files)
    for line in (
        f"  verdict   {verdict}",
        f"  model     {ours['model']}",
        *(f"  data      {digest}  {role}" for role, digest in sorted(ours["data"].items())),
        f"  files     {len(statement.files)}, {size:,} bytes",
    ):
        typer.echo(plain(line), err=quiet)
