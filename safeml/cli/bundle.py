"""`safeml bundle`: the signed file that goes to a device."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from safeml.cli.keys import Signer, password_of, public_keys, signer
from safeml.cli.needs import tensorflow_needed
from safeml.cli.paths import check_name, check_room
from safeml.errors import ConfigError
from safeml.waivers import today_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeml.bundle.build import Built, Request
    from safeml.bundle.reading import OpenedBundle
    from safeml.bundle.rehearsal import Rehearsal, Step
    from safeml.edge.settings import Key
    from safeml.settings.bundle import BundleSettings

PASSWORD = "SAFEML_KEY_PASSWORD"
BUILD = "build"


class _BuildFirst(TyperGroup):
    """`safeml bundle RUN` is `safeml bundle build RUN`; a run folder named like a command is written ./NAME."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of arguments that name none."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = [BUILD, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_BuildFirst,
    no_args_is_help=True,
    help="Make, show and compare the signed file that goes to a device. `safeml bundle RUN` makes one of a finished run.",
    rich_markup_mode=None,
)
OUT = typer.Option("--out", "-o", help="The file to write; default: PRODUCT-RELEASE.safeml.")
KEY = typer.Option("--key", help="The private key that signs, of `safeml keys new`; may be repeated while keys are rotated.")  # fmt: skip
FORCE = typer.Option("--force", help="Replace existing files.")
PUBLIC = typer.Option("--public", help="A public key; a signature by it is verified. May be repeated.")


@app.command(BUILD)
def build(
    run: Annotated[Path, typer.Argument(help="The run folder of the INT8 model.")],
    export: Annotated[Path, typer.Option("--export", help="The folder of `safeml export`.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A settings file with the table [bundle].")
    ] = None,
    product: Annotated[str, typer.Option(help="Name of the product; a device takes its own alone.")] = "",
    release: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="A device takes larger numbers alone.")
    ] = None,
    version: Annotated[str, typer.Option(help="Free text for people.")] = "",
    key: Annotated[list[Path] | None, KEY] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Do not sign: for trials, because every device refuses it.")
    ] = False,
    override: Annotated[
        str,
        typer.Option(
            help="Why a failed, open, incomplete or quick run is released; it is in the signed statement."
        ),
    ] = "",
    created: Annotated[
        str,
        typer.Option(
            help="When it counts as made, such as 2026-11-29T12:00:00Z; default: SOURCE_DATE_EPOCH, else the end of the run."
        ),
    ] = "",
    expires_days: Annotated[
        int | None,
        typer.Option(min=0, max=3650, help="Days after which no device installs it; 0 for no end."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A JSON list of the class names, where the run records none.")
    ] = None,
    float_run: Annotated[
        Path | None,
        typer.Option(
            "--float-run",
            help="The run folder of model.float.onnx; its monitor goes along, for devices without fast INT8.",
        ),
    ] = None,
    out: Annotated[Path | None, OUT] = None,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Make a bundle of a finished run and its export, and a page about it.

    The verdict is decided again. Without --override, only a passed full audit becomes a bundle: else the exit code is that of the
    verdict. 5: the files of the run, its export and the audited model do not belong together; no override helps.
    """  # fmt: skip
    from safeml.bundle.build import Request, source_date

    settings = bundle_settings(
        config, product=product, release=release, version=version, expires_days=expires_days
    )
    check_name(run, export, *(key or ()), *([float_run] if float_run else []))
    paths = key or ([config.parent / settings.key] if config and settings.key and not unsigned else [])
    if float_run is None and config is not None and settings.float_run:
        float_run = config.parent / settings.float_run
    request = Request(
        run,
        export,
        settings,
        today_utc(),
        moment(created) if created else source_date(),
        override,
        labels,
        float_run,
    )
    make(request, signer(paths, unsigned), out, force)


def bundle_settings(config: Path | None, **given: Any) -> BundleSettings:
    """Return the table [bundle] of a settings file, with what the command line gives in its place, checked."""
    from safeml.bundle.manifest import check_release
    from safeml.config.audit import load_config
    from safeml.settings.base import validated
    from safeml.settings.bundle import BundleSettings

    settings = load_config(config).bundle if config is not None else BundleSettings()
    changes = {name: value for name, value in given.items() if value not in (None, "")}
    settings = validated(BundleSettings, {**settings.model_dump(), **changes}, "the command line")
    check_release(settings)
    return settings


def moment(text: str) -> datetime:
    """Return the moment that an option names."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise ConfigError(
            f"--created {text[:60]}: is no moment with a time zone; expected one such as 2026-11-29T12:00:00Z."
        )
    return value.astimezone(UTC)


def make(request: Request, by: Signer, out: Path | None, force: bool) -> Built:
    """Make a bundle and its page, and print what they are."""
    from safeml.bundle.build import SUFFIX
    from safeml.bundle.build import build as build_bundle
    from safeml.bundle.page import bundle_page
    from safeml.bundle.reading import read_bundle
    from safeml.store.files import atomic_write

    settings = request.settings
    file = out or Path(f"{settings.product}-{settings.release}{SUFFIX}")
    if file.suffix != SUFFIX:
        raise ConfigError(f"{file}: does not end in {SUFFIX}; set such a name with --out.")
    page = file.with_suffix(".html")
    for each in (file, page):
        check_room(each, force)
    with tensorflow_needed():
        built = build_bundle(request, by.sign, file)
    atomic_write(page, bundle_page(read_bundle(file, by.keys)))
    _say(built, page)
    return built


def _say(built: Built, page: Path) -> None:
    from safeml.cli.show import plain

    for reason in built.reasons:
        typer.echo(plain(f"OVERRIDE: {reason}"), err=True)
    typer.echo(f"{built.path} written: {built.size:,} bytes, sha256 {built.sha256}")
    typer.echo(f"Page: {page}")


@app.command()
def show(
    bundle: Annotated[Path, typer.Argument(help="A .safeml file.")],
    public: Annotated[list[Path] | None, PUBLIC] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the page of the bundle there.")
    ] = None,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Read a bundle as a device does, but for its settings, and print what it is.

    Exit code 5: a device would refuse it whatever its settings are, or a signature by a given key does not verify.
    """
    from safeml.bundle.page import bundle_page
    from safeml.bundle.reading import read_bundle
    from safeml.cli.show import plain
    from safeml.store.files import atomic_write

    check_name(bundle)
    if out is not None:
        check_room(out, force)
    keys = public_keys(public or ())
    opened = read_bundle(bundle, keys)
    manifest, statement = opened.manifest, opened.statement
    lines = [
        f"{manifest.product} release {manifest.release}, version {manifest.version}: {statement.result}",
        f"  verdict   {statement.verdict}, {statement.profile} profile",
        *([f"  OVERRIDE  {statement.override}"] if statement.override is not None else []),
        *[
            f"  signed    {keyid}  {'verified' if keyid in opened.verified_by else 'not verified'}"
            for keyid in opened.signers
        ],
        *(["  UNSIGNED  every device refuses it"] if not opened.signers else []),
        *_report_signers(opened, keys),
        f"  model     {manifest.evidence.model_fingerprint}",
        f"  files     {len(manifest.files)}, {opened.size:,} bytes, sha256 {opened.sha256}",
    ]
    for line in lines:
        typer.echo(plain(line))
    if out is not None:
        atomic_write(out, bundle_page(opened))
        typer.echo(f"Page: {out}")


def _report_signers(opened: OpenedBundle, keys: Sequence[Key]) -> list[str]:
    """Return a line for each key that signed the report in the bundle, none where it is not signed."""
    from safeml.bundle.reading import report_signature

    found = report_signature(opened, keys)
    if found is None:
        return []
    signed, verified = found
    return [
        f"  report    {one.keyid}  {'verified' if one.keyid in verified else 'not verified'}"
        for one in signed.envelope.signatures
    ]


@app.command()
def delta(
    old: Annotated[Path, typer.Argument(help="The bundle that the devices have.")],
    new: Annotated[Path, typer.Argument(help="The bundle of a later release.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The difference file to write.")],
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Write the difference between two bundles, which a device with the old one applies. Needs the extra `delta`."""
    from safeml.bundle.delta import make_delta

    check_name(old, new)
    check_room(out, force)
    made = make_delta(old, new, out)
    releases = f"release {made.old.manifest.release} to {made.new.manifest.release}"
    typer.echo(
        f"{out} written: {releases}, {made.size:,} bytes, {made.share:.1%} of the bundle's {made.new.size:,}"
    )


@app.command()
def index(
    folder: Annotated[
        Path, typer.Argument(help="The folder with bundles and difference files that a server gives out.")
    ],
    percent: Annotated[
        float, typer.Option("--percent", min=0, max=100, help="Devices that shall take the newest release.")
    ] = 100.0,
) -> None:
    """Write the index of an update source: its newest bundle and the difference files (*.delta) that make it.

    The index is not signed; a device judges the bundle.
    """
    from safeml.bundle.index import write_index

    check_name(folder)
    made = write_index(folder, percent)
    newest = made.newest.manifest
    typer.echo(
        f"{made.path} written: {newest.product} release {newest.release} for {percent:g} % of the devices"
    )
    for name, release in made.deltas:
        typer.echo(f"  {name}  from release {release}")
    for name in made.unused:
        typer.echo(f"  {name}  not listed: it makes release {newest.release} of no other bundle here")


@app.command()
def openssf(
    bundle: Annotated[Path, typer.Argument(help="A .safeml file.")],
    key: Annotated[
        Path,
        typer.Option(
            "--key", help="An elliptic-curve key (P-256, P-384, P-521) in PEM; an Ed25519 key is refused."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The signature to write; default: BUNDLE.sig.")
    ] = None,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Sign a bundle for other tools by OpenSSF Model Signing, which takes elliptic-curve keys, not Ed25519.

    Devices read the signature inside the bundle alone. Needs the extra `openssf`.
    """
    from safeml.bundle.openssf import sign_bundle

    check_name(bundle, key)
    file = out or bundle.with_name(f"{bundle.name}.sig")
    check_room(file, force)
    sign_bundle(bundle, key, password_of(key), file)
    typer.echo(
        f"{file} written. To verify: model_signing verify key {bundle} --signature {file} --public_key PUBLIC.pem"
    )


@app.command()
def rehearse(
    bundle: Annotated[Path, typer.Argument(help="A .safeml file.")],
    public: Annotated[list[Path] | None, PUBLIC] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Frames: a folder of images, an .npz file or a video; default: rendered signs."),
    ] = None,
    allow_override: Annotated[
        bool, typer.Option("--allow-override", help="The device accepts a bundle whose audit did not pass.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder of the device; default: BUNDLE-device.")
    ] = None,
) -> None:
    """Install, test and run a bundle on this machine as a device does, with ONNX Runtime.

    The exit code is that of the edge runtime. An unsigned bundle is refused first; a copy that is signed for the rehearsal alone goes on.
    """
    from safeml.bundle.rehearsal import rehearse as run

    check_name(bundle, *([source] if source else []))
    folder = out or bundle.with_name(f"{bundle.stem}-device")
    keys = public_keys(public or [])
    made = run(bundle, folder, keys, source, allow_override=allow_override, show=show_step)
    show_rehearsal(made)
    raise typer.Exit(made.exit_code)


def show_rehearsal(made: Rehearsal) -> None:
    """Print how a device refuses the bundle, if it does, and where the page of the device is."""
    if made.refused:
        typer.echo(f"The bundle as it is: {made.refused}")
    if made.page.is_file():
        typer.echo(f"Page: {made.page}")


def show_step(step: Step) -> None:
    """Print a command of the device with its exit code, and the last line that it printed."""
    from safeml.cli.show import plain

    last = step.output.splitlines()[-1:] or [""]
    typer.echo(f"  {step.exit_code}  {step.command[0]:10} {plain(last[0])}")
