"""The signed statement about a report: an in-toto test result whose subjects are all files of the run folder that a reader sees.

It states which verdict the report has, not that the verdict is a pass: a signature of a report is no approval. A device takes no such
statement for a bundle, because its first subject is results.json and its object `safeml` has other fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeml.edge import strict_json
from safeml.edge.statement import VERDICTS, InTotoResult, Resource, parse_test_result, write_test_result
from safeml.edge.strict_json import Malformed
from safeml.errors import InputRefused
from safeml.profiles import FULL
from safeml.results import GateStatus, Run
from safeml.store.files import content_key

RESULTS = "results.json"
# What an envelope of safeml.edge.limits.ENVELOPE_BYTES holds.
MOST_FILES = 160
RESULT_OF = {"passed": "PASSED", "not_proven": "WARNED", "incomplete": "FAILED", "failed": "FAILED"}
FIELDS = ("kind", "profile", "verdict", "exit_code", "accept_quick", "model", "data", "safeml_version")
KIND = "report"
ROLES = ("test", "train", "valid")
PASSED: tuple[GateStatus, ...] = ("pass",)
WARNED: tuple[GateStatus, ...] = ("not_proven", "skipped", "waived")
FAILED: tuple[GateStatus, ...] = ("fail", "error")


@dataclass(frozen=True)
class ReportStatement:
    """What the signer of a report states.

    files: results.json first, then all others by name, with sha256 and size.
    claims: verdict, profile, fingerprints of model and data, gates by state: see `claims_of`.
    """

    files: tuple[Resource, ...]
    claims: InTotoResult

    @property
    def ours(self) -> dict[str, Any]:
        """The object `safeml`, checked."""
        ours: dict[str, Any] = self.claims.ours
        return ours


def claims_of(run: Run) -> InTotoResult:
    """Return what a statement about the report of `run` claims, without its files."""
    limits = [entry.model_dump(mode="json") for entry in (*run.gates, *run.accepted, *run.requirements)]
    named = {
        states: tuple(sorted(result.gate.id for result in run.verdict.gates if result.status in states))
        for states in (PASSED, WARNED, FAILED)
    }
    return InTotoResult(
        subjects=(),
        result=_result(run.verdict.status, run.profile),
        configuration=(
            Resource("settings", content_key(run.configuration)),
            Resource("limits", content_key(limits)),
        ),
        passed=named[PASSED],
        warned=named[WARNED],
        failed=named[FAILED],
        ours={
            "kind": KIND,
            "profile": run.profile,
            "verdict": run.verdict.status,
            "exit_code": int(run.verdict.exit_code),
            "accept_quick": run.accept_quick,
            "model": run.model.fingerprint,
            "data": {entry.role: entry.fingerprint for entry in run.data},
            "safeml_version": run.safeml_version,
        },
    )


def write_statement(files: tuple[Resource, ...], claims: InTotoResult) -> bytes:
    """Return the bytes to sign. Raises InputRefused for more files than a signature covers."""
    if len(files) > MOST_FILES:
        raise InputRefused(
            f"the report has {len(files)} files; a signature covers at most {MOST_FILES}, so move other files out of the run folder."
        )
    data = write_test_result(claims._replace(subjects=files))
    parse_statement(data)
    return data


def parse_statement(data: bytes) -> ReportStatement:
    """Return the statement in a payload; raises Malformed for one about something else."""
    result = parse_test_result(data, MOST_FILES, True)
    ours = strict_json.fields(result.ours, "safeml", FIELDS)
    strict_json.one_of(ours["kind"], "safeml.kind", (KIND,))
    strict_json.one_of(ours["verdict"], "safeml.verdict", tuple(VERDICTS))
    if VERDICTS[ours["verdict"]] != ours["exit_code"]:
        raise Malformed(f"the verdict {ours['verdict']} does not have the exit code {ours['exit_code']}")
    for name in ("profile", "model", "safeml_version"):
        strict_json.text(ours[name], f"safeml.{name}")
    if result.result != _result(ours["verdict"], ours["profile"]):
        raise Malformed(f"its result {result.result} is not that of its verdict and profile")
    if result.subjects[0].name != RESULTS:
        raise Malformed(f"its first subject is not {RESULTS}")
    strict_json.boolean(ours["accept_quick"], "safeml.accept_quick")
    data_of = strict_json.fields(ours["data"], "safeml.data", (), ROLES)
    for role in data_of:
        strict_json.text(data_of[role], f"safeml.data.{role}")
    return ReportStatement(result.subjects, result._replace(subjects=()))


def _result(verdict: str, profile: str) -> str:
    """Return the result of in-toto: PASSED for a passed full audit alone."""
    return "WARNED" if verdict == "passed" and profile != FULL else RESULT_OF[verdict]
