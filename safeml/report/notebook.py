"""A run as a fragment of HTML for a notebook: verdict and gates, without a script or a remote asset."""

from __future__ import annotations

from safeml.report.page import render_page, titles_of
from safeml.report.rows import gate_row
from safeml.report.states import VERDICT_STATES
from safeml.report.text import short_hash
from safeml.results import Run
from safeml.wording import counted


def verdict_card(run: Run) -> str:
    """Return the verdict, its gates worst first, and what they belong to."""
    titles = titles_of(run)
    verdict, test = run.verdict, run.test_data
    data = f"{test.name}, {counted(test.images, 'image')}" if test else "no test data"
    return render_page(
        "notebook.html",
        run,
        "",
        None,
        current="",
        alone=True,
        verdict=VERDICT_STATES[verdict.status],
        exit_code=verdict.exit_code,
        sentence=verdict.sentence,
        detail=verdict.detail,
        gates=[
            gate_row(result, titles.get((result.gate.subject, result.gate.stage), result.gate.stage))
            for result in verdict.gates
        ],
        model=f"{run.model.name}, sha256 {short_hash(run.model.fingerprint)}",
        data=data,
    )
