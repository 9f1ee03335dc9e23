"""The bundle that `safeml run` makes after its verdict: planned before any training, made of the finished run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from safeml.errors import ConfigError, ExitCode
from safeml.waivers import today_utc

if TYPE_CHECKING:
    from safeml.cli.keys import Signer
    from safeml.config.audit import Config
    from safeml.results import Run
    from safeml.settings.bundle import BundleSettings

TRIAL = "An unsigned trial of `safeml run --trial-bundle`."


@dataclass(frozen=True)
class PlannedBundle:
    """A bundle to make when the verdict is known.

    settings: with product and release.
    by: what signs it; its keys are empty for a trial.
    out: the file to write.
    force: replace it.
    float_run: the run folder of the float model, or None.
    """

    settings: BundleSettings
    by: Signer
    out: Path
    force: bool
    float_run: Path | None = None

    def make(self, run: Run, folder: Path, model: Path) -> int:
        """Make the bundle of a run of the audited `model`, rehearse it, and return 0, or 4 where the rehearsal failed.

        Where the verdict or the profile forbids a bundle, say so and return 0.
        """
        from safeml.bundle.build import Request, source_date
        from safeml.cli.bundle import make
        from safeml.store.files import make_folder

        trial = not self.by.keys
        if not trial and (run.verdict.exit_code != ExitCode.PASSED or run.profile != "full"):
            what = f"the verdict is {run.verdict.status.replace('_', ' ')}" if run.verdict.exit_code else f"the profile is {run.profile}"  # fmt: skip
            typer.echo(f"No bundle: {what}.", err=True)
            return int(ExitCode.PASSED)
        export = _export(model)
        request = Request(
            folder,
            export,
            self.settings,
            today_utc(),
            source_date(),
            TRIAL if trial else "",
            float_run=self.float_run,
        )
        make_folder(self.out.parent)
        make(request, self.by, self.out, self.force)
        return self._rehearsed()

    def _rehearsed(self) -> int:
        from safeml.bundle.rehearsal import rehearse
        from safeml.cli.bundle import show_rehearsal, show_step

        typer.echo("Rehearsal on this machine, with ONNX Runtime:")
        made = rehearse(
            self.out, self.out.with_name(f"{self.out.stem}-device"), list(self.by.keys), show=show_step
        )
        show_rehearsal(made)
        return int(ExitCode.INCOMPLETE if made.exit_code else ExitCode.PASSED)


def planned_bundle(config: Path, settings: Config, trial: bool, force: bool) -> PlannedBundle | None:
    """Check all that a bundle needs before any work, and return it; None where the settings ask for none.

    Raises ConfigError for settings that cannot give a bundle, and as `safeml.bundle.signing.load_key`.
    """
    from safeml.cli.keys import signer
    from safeml.cli.paths import check_room

    table = settings.bundle
    if not trial and not (table.product and table.key):
        return None
    model = config.parent / settings.model.path
    if settings.model.path and model.exists():
        _export(model)
    if settings.model.recipe:
        raise ConfigError(f"{config}: a bundle needs an INT8 model, and model.recipe trains a float one; set model.quantize, or remove [bundle].")  # fmt: skip
    if trial:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", settings.model.name).strip("-._") or "trial"
        table = table.model_copy(update={"product": table.product or name, "release": table.release or 1})
    elif table.release is None:
        raise ConfigError(f"{config}: [bundle] has product and key, but no release; set bundle.release, and raise it for each release.")  # fmt: skip
    float_run = config.parent / table.float_run if table.float_run else None
    if float_run is not None and not float_run.is_dir():
        raise ConfigError(f"{config}: bundle.float_run is {table.float_run}, where no run is; audit model.float.onnx of the export with --out {table.float_run}, or remove the key.")  # fmt: skip
    reports = config.parent / settings.run.reports
    out = reports / f"{table.product}-{table.release}.safeml"
    by = signer([] if trial else [config.parent / table.key], unsigned=trial)
    if reports.is_dir():
        for file in (out, out.with_suffix(".html")):
            check_room(file, force or trial)
    return PlannedBundle(table, by, out, force or trial, float_run)


def _export(model: Path) -> Path:
    """Return the folder of the export that the audited model is of. Raises ConfigError for another model."""
    from safeml.export.artefact import exported

    found = exported(model)
    if found is None:
        raise ConfigError(f"{model}: is no INT8 file of `safeml export`, which a bundle needs; remove [bundle], or set model.quantize.")  # fmt: skip
    return found.file.parent
