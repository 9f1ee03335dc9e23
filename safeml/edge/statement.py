"""The signed statement: an in-toto test result (in-toto attestation framework v1, predicate test-result v0.1) about one bundle.

Its first subject is the manifest; the others are the models and the audit's results. Gates that passed, passed with a warning or
failed are named; an object `safeml` has the verdict and an override. A statement without an override is PASSED, and only the
passed verdict of a full audit is.
"""

from typing import Any, Dict, NamedTuple, Optional, Tuple

from . import limits, strict_json
from .errors import Refused
from .strict_json import Malformed

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
MANIFEST = "manifest.json"
RESULTS = ("PASSED", "WARNED", "FAILED")
PROFILES = ("full", "standard", "quick")
# Verdict and exit code of `safeml run`.
VERDICTS = {"passed": 0, "failed": 1, "not_proven": 3, "incomplete": 4}


class Resource(NamedTuple):
    """A name with the sha256 of its content.

    size: its number of bytes; None where a statement leaves it to a manifest.
    """

    name: str
    sha256: str
    size: Optional[int] = None


class InTotoResult(NamedTuple):
    """What statements about bundles and about reports have in common.

    subjects: the files, in the order of the statement.
    result: one of `RESULTS`.
    configuration: the settings that decided, by hash.
    passed, warned, failed: names of gates.
    ours: the object `safeml`, unchecked.
    """

    subjects: Tuple[Resource, ...]
    result: str
    configuration: Tuple[Resource, ...]
    passed: Tuple[str, ...]
    warned: Tuple[str, ...]
    failed: Tuple[str, ...]
    ours: Any


class Statement(NamedTuple):
    """What the signer states.

    subjects: the manifest first, then models and results.
    result: one of `RESULTS`.
    configuration: the settings that decided, by hash.
    passed, warned, failed: names of gates.
    profile: one of `PROFILES`. verdict: one of `VERDICTS`. exit_code: that of `safeml run`.
    override: the reason for a bundle without a passed full audit; None where it passed.
    """

    subjects: Tuple[Resource, ...]
    result: str
    configuration: Tuple[Resource, ...]
    passed: Tuple[str, ...]
    warned: Tuple[str, ...]
    failed: Tuple[str, ...]
    profile: str
    verdict: str
    exit_code: int
    override: Optional[str]
    release: int
    product: str


def write_statement(statement: Statement) -> bytes:
    """Return the bytes to sign; raises Refused for a statement that no device would accept."""
    data = write_test_result(
        InTotoResult(
            statement.subjects,
            statement.result,
            statement.configuration,
            statement.passed,
            statement.warned,
            statement.failed,
            {
                "profile": statement.profile,
                "verdict": statement.verdict,
                "exit_code": statement.exit_code,
                "override": None if statement.override is None else {"reason": statement.override},
                "release": statement.release,
                "product": statement.product,
            },
        )
    )
    parse_statement(data)
    return data


def write_test_result(result: InTotoResult) -> bytes:
    """Return the statement as JSON, without a check."""
    return strict_json.write(
        {
            "_type": TYPE,
            "subject": [_resource(one) for one in result.subjects],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "result": result.result,
                "configuration": [_resource(one) for one in result.configuration],
                "passedTests": list(result.passed),
                "warnedTests": list(result.warned),
                "failedTests": list(result.failed),
                "safeml": result.ours,
            },
        }
    )


def parse_statement(data: bytes) -> Statement:
    """Return the statement in a payload whose signature has been verified; raises Refused with "statement-invalid"."""
    try:
        return _statement(parse_test_result(data, limits.SUBJECTS, False))
    except Malformed as error:
        raise Refused("statement-invalid", f"the signed statement is refused: {error}.") from None


def parse_test_result(data: bytes, most: int, sized: bool) -> InTotoResult:
    """Return the common parts of a statement; raises Malformed.

    most: subjects. sized: each subject has its number of bytes; otherwise none has.
    """
    value = strict_json.parse(data)
    strict_json.fields(value, "it", ("_type", "subject", "predicateType", "predicate"))
    strict_json.one_of(value["_type"], "_type", (TYPE,))
    strict_json.one_of(value["predicateType"], "predicateType", (PREDICATE_TYPE,))
    tests = ("passedTests", "warnedTests", "failedTests")
    predicate = strict_json.fields(
        value["predicate"], "predicate", ("result", "configuration", *tests, "safeml")
    )
    passed, warned, failed = (strict_json.texts(predicate[key], key, limits.GATES) for key in tests)
    return InTotoResult(
        subjects=_resources(value["subject"], "subject", most, 1, sized),
        result=strict_json.one_of(predicate["result"], "result", RESULTS),
        configuration=_resources(predicate["configuration"], "configuration", most, 0, False),
        passed=passed,
        warned=warned,
        failed=failed,
        ours=predicate["safeml"],
    )


def _statement(result: InTotoResult) -> Statement:
    ours = strict_json.fields(
        result.ours, "safeml", ("profile", "verdict", "exit_code", "override", "release", "product")
    )
    override = ours["override"]
    if override is not None:
        strict_json.fields(override, "override", ("reason",))
        override = strict_json.text(override["reason"], "override.reason")
    statement = Statement(
        subjects=result.subjects,
        result=result.result,
        configuration=result.configuration,
        passed=result.passed,
        warned=result.warned,
        failed=result.failed,
        profile=strict_json.one_of(ours["profile"], "profile", PROFILES),
        verdict=strict_json.one_of(ours["verdict"], "verdict", tuple(VERDICTS)),
        exit_code=strict_json.integer(ours["exit_code"], "exit_code", 0, 4),
        override=override,
        release=strict_json.integer(ours["release"], "release", 1, limits.RELEASE),
        product=strict_json.text(ours["product"], "product", 100),
    )
    _check_agreement(statement)
    return statement


def _check_agreement(statement: Statement) -> None:
    """Refuse a statement that contradicts itself."""
    if statement.subjects[0].name != MANIFEST:
        raise Malformed("its first subject is not manifest.json")
    if VERDICTS[statement.verdict] != statement.exit_code:
        raise Malformed(f"the verdict {statement.verdict} does not have the exit code {statement.exit_code}")
    if statement.verdict == "passed" and statement.failed:
        raise Malformed("the verdict is passed although a gate failed")
    passed = statement.verdict == "passed" and statement.profile == "full"
    if statement.override is None:
        expected = "PASSED"
        if not passed:
            raise Malformed("there is no override although no full audit passed")
    else:
        expected = "WARNED" if statement.verdict == "passed" else "FAILED"
    if statement.result != expected:
        raise Malformed(f"the result is {statement.result}; expected {expected}")


def _resource(one: Resource) -> dict:
    value: Dict[str, Any] = {"name": one.name, "digest": {"sha256": one.sha256}}
    return value if one.size is None else dict(value, annotations={"bytes": one.size})


def _resources(value: Any, where: str, most: int, least: int, sized: bool) -> Tuple[Resource, ...]:
    result = []
    for place, one in enumerate(strict_json.items(value, where, most, least)):
        at = f"{where}[{place}]"
        strict_json.fields(one, at, ("name", "digest", "annotations") if sized else ("name", "digest"))
        strict_json.fields(one["digest"], at + ".digest", ("sha256",))
        name = strict_json.text(one["name"], at + ".name", limits.NAME_CHARACTERS)
        size = None
        if sized:
            notes = strict_json.fields(one["annotations"], at + ".annotations", ("bytes",))
            size = strict_json.integer(notes["bytes"], at + ".annotations.bytes", 0, limits.FILE_BYTES)
        result.append(
            Resource(name, strict_json.sha256(one["digest"]["sha256"], at + ".digest.sha256"), size)
        )
    if len({one.name for one in result}) < len(result):
        raise Malformed(f"{where} names a file twice")
    return tuple(result)
