"""The frame of every page: environment, style, navigation. No script, no remote asset, every user's string escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from safeml.report.states import NO_REQUIREMENT, REQUIREMENT_STATES, stage_state, worst_requirement
from safeml.report.text import LONGEST_TEXT, short_hash, visible, when
from safeml.results import MODEL, SCHEMA_VERSION, Run, RunTimes, StageResult
from safeml.version import __version__
from safeml.wording import NARROW_SPACE


def render_page(
    template: str,
    run: Run,
    results_hash: str,
    times: RunTimes | None,
    *,
    current: str,
    alone: bool = False,
    note: str = "",
    **context: Any,
) -> str:
    """Fill a template with the frame of a run; `alone`: there is no index to link to; `note`: a warning above everything."""
    return _render(
        template,
        nav=[] if alone else [_case_nav(run, current), *(_nav(run, stage, current) for stage in run.stages)],
        alone=alone,
        note=note,
        report_title=run.title,
        profile=run.profile,
        results_hash=short_hash(results_hash),
        schema=run.schema_version,
        version=run.safeml_version,
        date=when(times.started) if times else "",
        **context,
    )


def render_frame(template: str, results_hash: str, report_title: str = "Runs", **context: Any) -> str:
    """Fill a template of a page that belongs to no run, such as one about several runs or a bundle."""
    return _render(
        template,
        nav=[],
        alone=True,
        note="",
        kind="stage",
        report_title=report_title,
        profile="full",
        results_hash=short_hash(results_hash),
        schema=SCHEMA_VERSION,
        version=__version__,
        date="",
        **context,
    )


def _render(template: str, **context: Any) -> str:
    style = _style()
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # our own file, not the user's
            style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            nnbsp=NARROW_SPACE,
            **context,
        )
        .strip()
        + "\n"
    )


# The page of the requirements.
SAFETY_CASE = "safety_case.html"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("safeml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Every plain string passes here before it is escaped; what we drew ourselves passes unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return (
            value
            if value.isascii() and value.isprintable() and len(value) < LONGEST_TEXT
            else _visible_or_picture(value)
        )
    return value


def _visible_or_picture(value: str) -> str:
    """A picture's base64 is longer than any text may be and is plain by construction."""
    return (
        value
        if value.isascii() and value.isprintable() and " " not in value and value.startswith("iVBOR")
        else visible(value, LONGEST_TEXT)
    )


@cache
def _style() -> str:
    static = files("safeml.report") / "static"
    return "".join((static / name).read_text(encoding="utf-8") for name in ("report.css", "charts.css"))


def page_of(stage: StageResult) -> str:
    """Return the file name of a stage's page; a subject other than the model itself is part of it."""
    return f"{stage.stage}.html" if stage.subject == MODEL else f"{stage.subject}-{stage.stage}.html"


def title_of_page(stage: StageResult) -> str:
    """Return the title of a stage's page; a subject other than the model itself is part of it."""
    return stage.title if stage.subject == MODEL else f"{stage.title} ({stage.subject})"


def titles_of(run: Run) -> dict[tuple[str, str], str]:
    """Return the title of each stage by subject and name."""
    return {(stage.subject, stage.stage): stage.title for stage in run.stages}


def _nav(run: Run, stage: StageResult, current: str) -> dict[str, Any]:
    state = stage_state(run, stage)
    return {
        "href": page_of(stage),
        "title": title_of_page(stage),
        "state": state,
        "current": page_of(stage) == current,
    }


def _case_nav(run: Run, current: str) -> dict[str, Any]:
    worst = worst_requirement(run)
    return {
        "href": SAFETY_CASE,
        "title": "Safety case",
        "state": REQUIREMENT_STATES[worst.status] if worst else NO_REQUIREMENT,
        "current": current == SAFETY_CASE,
    }
