"""Audit a model from Python: the stages, gates and records of `safeml audit`, for files and for models in memory."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from safeml.api.arrays import dataset, declared, numbered_names
from safeml.api.runs import AuditedRun, PathLike, read_run
from safeml.classifiers.memory import IN_MEMORY, InMemory, in_memory
from safeml.config.audit import Config, parse_config
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.defaults import data_kind, new_config
from safeml.errors import ConfigError, InputRefused
from safeml.profiles import PROFILES
from safeml.results import Run, RunTimes
from safeml.settings.errors import found, suggest
from safeml.settings.model import InputSettings
from safeml.settings.toml_file import read_toml
from safeml.work import Progress, silent

WHERE = "safeml.audit"
# The tables of safeml.toml that are keywords; model and data are arguments.
TABLES = ("title", "run", "stages", "gates", "accepted", "hazard")
ROLES = ("test", "train", "valid")


def audit(
    model: Any,
    data: Any,
    *,
    train: Any = None,
    valid: Any = None,
    frames_per_sign: float | None = None,
    input: InputSettings | Mapping[str, Any] | None = None,
    name: str = "",
    config: PathLike | None = None,
    out: PathLike | None = None,
    profile: str = "full",
    accept_quick: bool = False,
    baseline: Run | PathLike | None = None,
    force: bool = False,
    progress: Progress = silent,
    **tables: Any,
) -> AuditedRun:
    """Audit a trained classifier and return the run, which a notebook shows as its verdict and gates.

    Args:
        model: a path that `safeml audit` accepts, or a Keras 3 model in memory. Of the latter, the weights are what is
            audited: the run records their fingerprint, and that no file was audited.
        data: the test data: an `ImageDataset`, arrays (images, labels) as in `safeml.dataset`, a path, or a table such as
            {"kind": "npz", "path": "test.npz"}.
        train, valid: training and validation data in the same forms, for leakage; without `train` the gates on shared images
            are missing evidence.
        frames_per_sign: declared frames of one physical sign, where the test data have no track ids; 1 declares independent
            images. Without either, nothing is proven.
        input: the input contract, such as {"range": [0, 255]}: the table `[model.input]` of safeml.toml.
        name: of the model in the report.
        config: a safeml.toml, whose model and test data are replaced; its paths are relative to its folder.
        out: the run folder, which gets results.json, the HTML pages and junit.xml, and from which an interrupted audit
            resumes; None: nothing is written.
        profile: "full", "standard" or "quick" (see `safeml.profiles`); a quick run passes only with `accept_quick`.
        baseline: an earlier run, or its path; gates that are looser than its gates are recorded.
        force: replace the results of another run, or of other limits, in `out`.
        progress: called with (step, done, total).
        tables: title, run, stages, gates, accepted and hazard as in safeml.toml; a table is merged into the defaults of
            `safeml init`, lists replace them.

    Raises:
        ConfigError: a setting is invalid, or `out` is in use.
        InputRefused: the model, the images or the labels are refused, or the model changed during the audit.
        StageError: the model file could not be judged.
    """
    if profile not in PROFILES:
        raise ConfigError(f"{WHERE}: profile is {found(profile)}; expected {', '.join(PROFILES)}.")
    tested: Path | InMemory = Path(model) if isinstance(model, str | os.PathLike) else in_memory(model)
    outputs = tested.model.outputs if isinstance(tested, InMemory) else None
    given: dict[str, ImageDataset] = {}
    roles = {
        role: _source(role, value, outputs, frames_per_sign if role == "test" else None, given)
        for role, value in zip(ROLES, (data, train, valid), strict=True)
        if value is not None
    }
    values = _values(config, tables)
    tested_path = IN_MEMORY if isinstance(tested, InMemory) else str(tested.absolute())
    of_file = {} if config is None else values.get("model", {})
    contract = of_file["input"] if input is None and "input" in of_file else None
    values["model"] = {
        "path": tested_path,
        "name": name or of_file.get("name", ""),
        "input": _contract(input, tested, given.get(_mark("test"))) if contract is None else contract,
    }
    values["data"] = {**({} if config is None else values.get("data", {})), **roles}
    where = WHERE if config is None else str(config)
    checked = parse_config(values, where)
    place = GivenPlace(Path() if config is None else Path(config).parent, given=given)
    options = {
        "profile": profile,
        "accept_quick": accept_quick,
        "baseline": read_run(baseline) if isinstance(baseline, str | os.PathLike) else baseline,
        "force": force,
        "progress": progress,
    }
    return AuditedRun.of(_run(checked, place, tested, out, options))


@dataclass(frozen=True)
class GivenPlace(Place):
    """The place of data sets that are in memory.

    given: by the placeholder that their settings hold as path.
    """

    given: Mapping[str, ImageDataset] = field(default_factory=dict)

    def plain(self, settings: Any, least_classes: int = 2) -> ImageDataset:
        """See `Place.plain`."""
        data = self.given.get(settings.path)
        return super().plain(settings, least_classes) if data is None else data

    def recorded(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with the name of each data set in memory instead of a placeholder."""
        data = {
            role: {"kind": "memory", "name": self.given[table["path"]].name}
            if isinstance(table, dict) and table["path"] in self.given
            else table
            for role, table in configuration["data"].items()
        }
        return {**configuration, "data": data}


def _run(
    config: Config,
    place: Place,
    model: Path | InMemory,
    out: PathLike | None,
    options: Mapping[str, Any],
) -> Run:
    from safeml import pipeline
    from safeml.report.write import write_report

    def finish(run: Run, times: RunTimes, folder: Path) -> object:
        return write_report(run, folder, times) if out is not None else None

    with ExitStack() as held:
        if out is None:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="safeml-")))
        else:
            folder = Path(out)
        called = f'# in Python: {WHERE}(model, data, profile="{options["profile"]}", ...)'
        run, _, _ = pipeline.audit(config, place, model, folder, command=(called,), finish=finish, **options)
    return run


def _values(config: PathLike | None, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of the settings file, or the defaults of `safeml init`, with the keywords of the caller."""
    for key in tables:
        if key not in TABLES:
            raise ConfigError(f"{WHERE}: unknown keyword {key}{suggest(key, list(TABLES))}.")
    values = (
        tomllib.loads(new_config("model", "data", None, "npz")) if config is None else read_toml(Path(config))
    )
    for key, value in tables.items():
        values[key] = _merged(values.get(key), value) if isinstance(value, Mapping) else _plain(value)
    return values


def _merged(old: Any, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return `old` with the entries of `new`, table by table."""
    merged = dict(old) if isinstance(old, Mapping) else {}
    for key, value in new.items():
        merged[key] = _merged(merged.get(key), value) if isinstance(value, Mapping) else _plain(value)
    return merged


def _plain(value: Any) -> Any:
    """Return settings objects, such as a `Gate` or the settings of a stage, as tables."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value


def _contract(
    contract: InputSettings | Mapping[str, Any] | None, model: Path | InMemory, data: ImageDataset | None
) -> Any:
    """Return the table of the input contract; without one, a model and images of one channel are grey."""
    if contract is not None:
        return _plain(contract) if isinstance(contract, InputSettings) else dict(contract)
    grey = (
        isinstance(model, InMemory)
        and model.model.input_shape[2] == 1
        and data is not None
        and data.images.shape[3] == 1
    )
    return {"channels": "grey"} if grey else {}


def _mark(role: str) -> str:
    """Return the placeholder for the path of data in memory."""
    return f"{IN_MEMORY} {role}"


def _source(
    role: str,
    data: Any,
    outputs: int | None,
    frames_per_sign: float | None,
    given: dict[str, ImageDataset],
) -> dict[str, Any]:
    """Return the table of the data in this role; data in memory are added to `given`."""
    if isinstance(data, str | os.PathLike):
        path = Path(data).absolute()
        if not path.exists():
            raise ConfigError(f"{data}: does not exist; expected the {role} data.")
        data = {"kind": data_kind(str(path)), "path": str(path), "split": role}
    if isinstance(data, Mapping):
        return {**data, **({} if frames_per_sign is None else {"frames_per_sign": float(frames_per_sign)})}
    if not isinstance(data, ImageDataset):
        if not (isinstance(data, tuple | list) and len(data) == 2):
            raise InputRefused(
                f"the {role} data are {_kind(data)}; expected an ImageDataset, a pair (images, labels), a path or a table."
            )
        names = () if outputs is None else numbered_names(outputs)
        images, labels = data
        data = dataset(images, labels, names, name=f"{role} arrays")
    if data.classes < 2:
        raise InputRefused(f"{data.name}: has one class; expected at least 2.")
    given[_mark(role)] = declared(data, frames_per_sign)
    return {"kind": "npz", "path": _mark(role)}


def _kind(data: Any) -> str:
    return f"{len(data)} objects" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
