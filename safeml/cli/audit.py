"""`safeml audit` and `safeml run`: from a trained model or a recipe to a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeml.cli.needs import tensorflow_needed
from safeml.cli.outputs import GITHUB, JSON, SARIF, check_outputs, publish
from safeml.cli.paths import check_name, shown_command
from safeml.errors import ConfigError
from safeml.profiles import Profile
from safeml.settings.errors import suggest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from safeml.config.audit import Config
    from safeml.results import Run
    from safeml.scale.start import Scale

CONFIG = typer.Option("--config", "-c", help="The settings file.", show_default=True)
DATA_ROOT = typer.Option("--data-root", envvar="SAFEML_DATA_ROOT", help="Base folder of relative data paths.")
PROFILE = typer.Option(
    "--profile",
    help="standard: fewer images where each is expensive; its gates decide. quick: also fewer steps and threats; it passes only with "
    "--accept-quick. The stages and gates are the same.",
)
OUT = typer.Option("--out", "-o", help="The run folder; default: named by model and content.")
FORCE = typer.Option("--force", help="Replace the results of another run, or of other limits, in the folder.")
ACCEPT_QUICK = typer.Option(
    "--accept-quick", help="Let the quick profile pass; without it, a quick run that would pass exits with 3."
)
BASELINE = typer.Option(
    "--baseline",
    help='An earlier run (its folder or results.json): gates with subject = "baseline" are decided against it, and looser limits named.',
)
ONLY = typer.Option(
    "--only",
    help="Measure only this stage; may be repeated. Other stages are read from the run folder, or are missing evidence.",
)
EXIT_ZERO = typer.Option(
    "--exit-zero", help="Exit with 0 once the report is written, whatever the verdict, which is printed."
)

SIGN_KEY = typer.Option(
    "--sign-key",
    help="Sign the report with this private key, whatever the verdict; default: sign.key of the settings.",
)
WORKERS = typer.Option(
    "--workers",
    help="Measure in this many processes of this machine; 0 for one process. Needs [run] threads; the results are the same bytes.",
)
SCHEDULER = typer.Option(
    "--scheduler",
    help="Measure on the workers of a Dask scheduler: tcp://HOST:PORT, or local[:N] for N workers here. Needs the extra `dask` and [run] threads.",
)
SLICES = typer.Option("--slices-per-shard", help="Slices that a worker measures at a time.")

TRIAL_BUNDLE = typer.Option(
    "--trial-bundle",
    help="Make an unsigned bundle whatever the verdict, to try the device runtime; every device refuses it.",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(audit)
    app.command()(run)


def audit(
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    model: Annotated[
        Path | None, typer.Option(help="Audit this model instead of the configured one.")
    ] = None,
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    profile: Annotated[Profile, PROFILE] = "full",
    out: Annotated[Path | None, OUT] = None,
    only: Annotated[list[str] | None, ONLY] = None,
    exit_zero: Annotated[bool, EXIT_ZERO] = False,
    accept_quick: Annotated[bool, ACCEPT_QUICK] = False,
    baseline: Annotated[Path | None, BASELINE] = None,
    force: Annotated[bool, FORCE] = False,
    sign_key: Annotated[Path | None, SIGN_KEY] = None,
    workers: Annotated[int, WORKERS] = 0,
    scheduler: Annotated[str, SCHEDULER] = "",
    slices_per_shard: Annotated[int, SLICES] = 1,
    as_json: Annotated[bool, JSON] = False,
    github: Annotated[bool, GITHUB] = False,
    sarif: Annotated[Path | None, SARIF] = None,
) -> None:
    """Audit a trained model: stages, gates, verdict and HTML report."""
    from safeml.cli.signing import configured_keys
    from safeml.config.audit import load_config
    from safeml.scale.start import Scale

    settings = load_config(config)
    if model is None and not settings.model.path:
        made, how = (
            ("recipe", "trains the model")
            if settings.model.recipe
            else ("quantize", "quantizes and exports the model")
        )
        raise ConfigError(
            f"{config}: model.{made} is set, not model.path; use `safeml run`, which {how} first."
        )
    path = model or config.parent / settings.model.path
    scale = Scale(workers, scheduler, slices_per_shard)
    options = Options(
        data_root, profile, out, tuple(only or ()), exit_zero, accept_quick, baseline, force, scale
    )
    keys = configured_keys(config, settings, sign_key)
    result, _ = _audit(config, settings, path, options, as_json, github, sarif, keys)
    raise typer.Exit(options.exit_code(result))


def run(
    config: Annotated[Path, CONFIG] = Path("safeml.toml"),
    data_root: Annotated[Path | None, DATA_ROOT] = None,
    profile: Annotated[Profile, PROFILE] = "full",
    out: Annotated[Path | None, OUT] = None,
    only: Annotated[list[str] | None, ONLY] = None,
    exit_zero: Annotated[bool, EXIT_ZERO] = False,
    accept_quick: Annotated[bool, ACCEPT_QUICK] = False,
    baseline: Annotated[Path | None, BASELINE] = None,
    force: Annotated[bool, FORCE] = False,
    sign_key: Annotated[Path | None, SIGN_KEY] = None,
    workers: Annotated[int, WORKERS] = 0,
    scheduler: Annotated[str, SCHEDULER] = "",
    slices_per_shard: Annotated[int, SLICES] = 1,
    as_json: Annotated[bool, JSON] = False,
    github: Annotated[bool, GITHUB] = False,
    sarif: Annotated[Path | None, SARIF] = None,
    trial_bundle: Annotated[bool, TRIAL_BUNDLE] = False,
) -> None:
    """Train the configured recipe, or quantize and export, unless the model exists already, then audit.

    With product and key in [bundle], a passed verdict becomes a signed bundle, which the edge runtime then installs and runs on this machine.
    """
    from safeml.cli.bundle_run import planned_bundle
    from safeml.cli.signing import configured_keys
    from safeml.config.audit import load_config
    from safeml.scale.start import Scale

    settings = load_config(config)
    scale = Scale(workers, scheduler, slices_per_shard)
    options = Options(
        data_root, profile, out, tuple(only or ()), exit_zero, accept_quick, baseline, force, scale
    )
    options.check(sarif)  # before hours of training
    bundle = planned_bundle(config, settings, trial_bundle, force)
    keys = configured_keys(config, settings, sign_key)
    if settings.model.recipe:
        from safeml.cli.training import prepared_recipe, train_recipe
        from safeml.data.place import Place
        from safeml.recipes import trained_folder
        from safeml.surrogate import check_others

        check_others(settings, Place(config.parent, data_root))
        recipe = config.parent / settings.model.recipe
        prepared = prepared_recipe(recipe, data_root)
        folder = trained_folder(config.parent / settings.run.reports, prepared)
        path = train_recipe(prepared, folder)
    elif settings.model.quantize:
        from safeml.cli.quantize import quantized_audit

        settings = quantized_audit(config, settings, data_root)
        path = config.parent / settings.model.path
    else:
        path = config.parent / settings.model.path
    result, folder = _audit(config, settings, path, options, as_json, github, sarif, keys)
    rehearsal = bundle.make(result, folder, path) if bundle is not None else 0
    raise typer.Exit(options.exit_code(result) or (0 if exit_zero else rehearsal))


@dataclass(frozen=True)
class Options:
    """The options of an audit, as on the command line."""

    data_root: Path | None
    profile: Profile
    out: Path | None
    only: tuple[str, ...]
    exit_zero: bool
    accept_quick: bool
    baseline: Path | None
    force: bool
    scale: Scale

    def exit_code(self, result: Run) -> int:
        """Return the exit code of the command."""
        return 0 if self.exit_zero else result.verdict.exit_code

    def check(self, sarif: Path | None) -> None:
        """Raise ConfigError for an unknown stage or a file that cannot be written."""
        from safeml.stages import STAGES

        names = [stage.name for stage in STAGES]
        for name in self.only:
            if name not in names:
                raise ConfigError(
                    f'--only: there is no stage "{name}"{suggest(name, names)}; `safeml list stages` lists them.'
                )
        if self.data_root is not None:
            check_name(self.data_root)
        self.scale.check()
        check_outputs(sarif)


def _audit(
    config: Path,
    settings: Config,
    model: Path,
    options: Options,
    as_json: bool,
    github: bool,
    sarif: Path | None,
    keys: list[Ed25519PrivateKey],
) -> tuple[Run, Path]:
    """Audit with `settings`, already read from the file `config` and checked; return the run and its folder."""
    from safeml import pipeline
    from safeml.cli.progress import progress_bar
    from safeml.cli.results import recorded
    from safeml.cli.signing import say_stale, sign_folder
    from safeml.data.place import Place
    from safeml.report.write import write_report

    options.check(sarif)
    place = Place(config.parent, options.data_root)
    earlier = recorded(options.baseline) if options.baseline is not None else None
    with tensorflow_needed(), progress_bar() as progress:
        result, _, folder = pipeline.audit(
            settings,
            place,
            model,
            options.out,
            options.profile,
            shown_command(),
            progress,
            force=options.force,
            accept_quick=options.accept_quick,
            baseline=earlier,
            only=options.only,
            scale=options.scale,
            finish=lambda run, times, folder: write_report(run, folder, times),
        )
    publish(result, folder, config, as_json, github, sarif)
    if keys:
        sign_folder(folder, keys, force=True, quiet=as_json)
    else:
        say_stale(folder)
    return result, folder
