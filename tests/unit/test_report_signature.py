"""Signatures of reports: whatever changes in the folder is refused, and no page calls a report signed that is not."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safeml.bundle.report_signing import sign_report, verify_report
from safeml.bundle.signing import envelope_of, generate_key, public_bytes
from safeml.cli.signing import configured_keys
from safeml.config.audit import Config, parse_config
from safeml.edge import dsse
from safeml.errors import ConfigError, InputRefused, MissingInput
from safeml.report.signature import SIGNATURE, STALE, read_signature, stale_sentence
from safeml.report.statement import MOST_FILES, RESULTS, claims_of, parse_statement, write_statement
from safeml.report.write import CHECKSUMS, write_report
from safeml.store.files import read_run, read_times
from tests import bundle_runs
from tests.bundle_runs import DAY
from tests.edge_bundles import FOREIGN, KEY, SECOND, Bundle, trust
from tests.unit.test_cli_bundle import call, error, key_file
from tests.unit.test_config import GOOD

pytestmark = pytest.mark.slow

PAGES = ("index.html", "performance.html", "safety_case.html", "summary.md")


def made(folder: Path, **fields: Any) -> Path:
    """Return the folder of a finished run."""
    run = folder / "run"
    bundle_runs.write_run(run, "sha256:" + "5" * 64, "c" * 64, **fields)
    return run


@pytest.fixture(scope="module")
def signed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = made(tmp_path_factory.mktemp("signed"))
    sign_report(run, (KEY,), DAY)
    return run


@pytest.fixture
def run(signed_once: Path, tmp_path: Path) -> Path:
    """Return a copy of a run folder whose report `KEY` signed."""
    shutil.copytree(signed_once, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def unsigned(run: Path) -> Path:
    (run / SIGNATURE).unlink()
    return run


def drawn_again(run: Path, **changes: Any) -> None:
    """Write another result of the same run folder, as a second audit does."""
    recorded, times = read_run(run), read_times(run)
    assert times is not None
    bundle_runs.store(recorded.model_copy(update=changes), times, run)


def test_a_signature_covers_each_file_that_a_reader_sees_and_says_which_verdict_it_is(run: Path) -> None:
    verified = verify_report(run, [trust(KEY)])
    statement = verified.statement
    names = [one.name for one in statement.files]
    present = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names[0] == RESULTS
    assert set(names) == present - {SIGNATURE}
    assert {CHECKSUMS, "run.json", "model-card.json", "junit.xml", "artefacts/monitors/monitor.npz"} <= set(
        names
    )
    assert all(one.size == (run / one.name).stat().st_size for one in statement.files)
    ours, recorded = statement.claims.ours, read_run(run)
    assert (ours["verdict"], ours["exit_code"], ours["profile"]) == ("passed", 0, "full")
    assert (ours["model"], ours["data"]["test"]) == (recorded.model.fingerprint, recorded.data[0].fingerprint)
    assert (statement.claims.result, statement.claims.passed) == ("PASSED", ("clean-accuracy",))
    assert verified.keyids == (trust(KEY).keyid,)


@pytest.mark.parametrize(
    ("fields", "verdict", "result"),
    [
        ({"threshold": 0.99}, "failed", "FAILED"),
        ({"threshold": 0.97}, "not_proven", "WARNED"),
        ({"without": "performance"}, "incomplete", "FAILED"),
        ({"profile": "standard"}, "passed", "WARNED"),
        ({"profile": "quick"}, "not_proven", "WARNED"),
        ({"profile": "quick", "accept_quick": True}, "passed", "WARNED"),
    ],
)
def test_any_verdict_is_signed_as_what_it_is(fields: Any, verdict: str, result: str, tmp_path: Path) -> None:
    run = made(tmp_path, **fields)
    sign_report(run, (KEY,), DAY)
    claims = verify_report(run, [trust(KEY)]).statement.claims
    assert (claims.ours["verdict"], claims.result) == (verdict, result)
    assert claims.ours["profile"] == fields.get("profile", "full")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _link(run: Path) -> None:
    (run / "junit.xml").rename(run.parent / "elsewhere.xml")
    (run / "junit.xml").symlink_to(run.parent / "elsewhere.xml")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "page": (lambda run: _flip(run / "index.html"), "index.html was changed"),
    "results": (lambda run: _flip(run / "results.json"), "results.json was changed"),
    "artefact": (lambda run: _flip(run / "artefacts/monitors/monitor.npz"), "monitor.npz was changed"),
    "longer": (lambda run: (run / "summary.md").write_bytes((run / "summary.md").read_bytes() + b"\n"), "summary.md was changed"),
    "missing": (lambda run: (run / "safety_case.html").unlink(), "safety_case.html is missing"),
    "extra": (lambda run: (run / "passed.html").write_text("passed"), "passed.html is not signed"),
    "extra below": (lambda run: (run / "artefacts" / "x.json").write_text("{}"), "artefacts/x.json is not signed"),
    "link": (_link, "junit.xml: is not a plain file"),
    "folder by a link": (lambda run: (run / "more").symlink_to(run.parent), "more: is not a plain file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_is_refused_and_told(name: str, run: Path) -> None:
    change, words = CHANGES[name]
    assert stale_sentence(run) == ""
    change(run)
    with pytest.raises(InputRefused, match="is not what was signed") as refused:
        verify_report(run, [trust(KEY)])
    assert words in str(refused.value)
    assert words in stale_sentence(run)


def test_each_covered_file_is_checked(run: Path) -> None:
    found = read_signature(run)
    assert found is not None
    for one in found.statement.files:
        path = run / one.name
        before = path.read_bytes()
        _flip(path)
        with pytest.raises(InputRefused, match="is not what was signed"):
            verify_report(run, [trust(KEY)])
        path.write_bytes(before)
    verify_report(run, [trust(KEY)])


def test_only_a_trusted_key_counts_and_a_false_signature_by_one_refuses(run: Path) -> None:
    sign_report(run, (KEY, SECOND), DAY, replace=True)
    both = verify_report(run, [trust(SECOND)])
    assert (both.keyids, both.others) == ((trust(SECOND).keyid,), (trust(KEY).keyid,))
    with pytest.raises(InputRefused, match="none of the given ones"):
        verify_report(run, [trust(FOREIGN)])
    envelope = json.loads((run / SIGNATURE).read_bytes())
    first, second = envelope["signatures"]
    first["sig"], second["sig"] = second["sig"], first["sig"]
    (run / SIGNATURE).write_bytes(json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(InputRefused, match="bad-signature"):
        verify_report(run, [trust(KEY)])


def _rewritten(
    run: Path, change: Callable[[dict[str, Any]], object], payload_type: str = dsse.PAYLOAD_TYPE
) -> None:
    """Change the statement and sign it again, as a signer with other software could."""
    found = read_signature(run)
    assert found is not None
    value = json.loads(found.envelope.payload)
    change(value)
    payload = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    signature = dsse.Signature(trust(KEY).keyid, KEY.sign(dsse.pae(payload_type, payload)))
    (run / SIGNATURE).write_bytes(dsse.write_envelope(dsse.Envelope(payload_type, payload, (signature,))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value["predicate"]["safeml"].update(model="another"), "states another verdict"),
        (lambda value: value["predicate"]["safeml"].update(data={}), "states another verdict"),
        (lambda value: value["predicate"]["safeml"].update(verdict="failed", exit_code=1), "is not that of its verdict"),
        (lambda value: value["predicate"]["safeml"].update(exit_code=1), "does not have the exit code"),
        (lambda value: value["predicate"]["safeml"].update(profile="quick"), "is not that of its verdict and profile"),
        (lambda value: value["predicate"]["safeml"].update(kind="bundle"), "kind"),
        (lambda value: value["predicate"].update(passedTests=[], failedTests=["clean-accuracy"]), "states another verdict"),
        (lambda value: value["subject"].reverse(), "first subject"),
        (lambda value: value["subject"].append(value["subject"][0]), "names a file twice"),
        (lambda value: value["subject"][0].pop("annotations"), "has no annotations"),
        (lambda value: value.update(predicateType="https://slsa.dev/provenance/v1"), "predicateType"),
    ],
)  # fmt: skip
def test_a_signed_statement_about_something_else_is_refused(change: Any, words: str, run: Path) -> None:
    _rewritten(run, change)
    with pytest.raises(InputRefused, match=words):
        verify_report(run, [trust(KEY)])


def test_another_kind_of_payload_and_the_statement_of_a_bundle_are_refused(run: Path) -> None:
    _rewritten(run, lambda value: None, "application/json")
    with pytest.raises(InputRefused, match=r"expected application/vnd\.in-toto"):
        verify_report(run, [trust(KEY)])
    (run / SIGNATURE).write_bytes(envelope_of(Bundle().statement_bytes(), (KEY,)))
    with pytest.raises(InputRefused, match="is no signature of a report"):
        verify_report(run, [trust(KEY)])
    (run / SIGNATURE).unlink()
    with pytest.raises(MissingInput, match="is not signed"):
        verify_report(run, [trust(KEY)])


def test_a_report_that_is_drawn_again_stays_signed_and_another_result_makes_the_signature_stale(
    run: Path,
) -> None:
    write_report(read_run(run), run, read_times(run))
    verify_report(run, [trust(KEY)])
    before = read_run(run)
    drawn_again(run, title="Another report")
    assert "results.json was changed" in stale_sentence(run)
    for name in PAGES:
        assert "was made for other content" in (run / name).read_text(), name
    with pytest.raises(InputRefused, match="is not what was signed"):
        verify_report(run, [trust(KEY)])
    drawn_again(run, title=before.title)  # the signed content is there again, so the signature holds again
    verify_report(run, [trust(KEY)])
    assert STALE[:30] not in (run / "index.html").read_text()


def test_a_stale_signature_is_replaced_and_a_valid_one_only_by_force(run: Path) -> None:
    drawn_again(run, title="Another report")
    sign_report(run, (SECOND,), DAY)
    verify_report(run, [trust(SECOND)])
    for name in PAGES:
        assert "was made for other content" not in (run / name).read_text(), name
    before = (run / SIGNATURE).read_bytes()
    with pytest.raises(ConfigError, match="signs this content already"):
        sign_report(run, (KEY,), DAY)
    assert (run / SIGNATURE).read_bytes() == before
    sign_report(run, (KEY,), DAY, replace=True)
    verify_report(run, [trust(KEY)])


def test_nothing_is_signed_that_is_not_of_the_report(unsigned: Path) -> None:
    run = unsigned
    (run / "notes.html").write_text("approved")
    with pytest.raises(InputRefused, match=r"notes\.html: is not of this report"):
        sign_report(run, (KEY,), DAY)
    (run / "notes.html").unlink()
    _flip(run / "performance.html")
    with pytest.raises(InputRefused, match="has another sha256"):
        sign_report(run, (KEY,), DAY)
    assert not (run / SIGNATURE).exists()


def test_what_a_signature_does_not_cover_is_named(unsigned: Path) -> None:
    run = unsigned
    for name in ("stages", "work", "limits-0123456789"):
        (run / name).mkdir()
        (run / name / "x.json").write_text("{}")
    sign_report(run, (KEY,), DAY)
    assert verify_report(run, [trust(KEY)]).not_covered == ("limits-0123456789/", "stages/", "work/")


def test_a_report_of_too_many_files_is_refused(unsigned: Path) -> None:
    run = unsigned
    found = sign_report(run, (KEY,), DAY)
    first = found.files[0]
    files = tuple(first._replace(name=f"{'n' * 60}-{place}.html") for place in range(MOST_FILES))
    files = (first, *files[1:])
    payload = write_statement(files, claims_of(read_run(run)))
    assert len(parse_statement(payload).files) == MOST_FILES
    dsse.parse_envelope(envelope_of(payload, (KEY, SECOND)))  # so many fit into an envelope
    with pytest.raises(InputRefused, match=f"covers at most {MOST_FILES}"):
        write_statement((*files, first._replace(name="one more")), claims_of(read_run(run)))


def test_the_commands_sign_verify_and_tell_a_stale_signature(tmp_path: Path) -> None:
    run, key = made(tmp_path, threshold=0.99), key_file(tmp_path)
    result = call("sign", run, "--key", key)
    assert result.exit_code == 0, result.output
    assert "FAILED (exit code 1), full profile" in result.output
    verified = call("verify", run, "--trust", f"{key}.pub")
    assert verified.exit_code == 0, verified.output
    assert "FAILED (exit code 1), full profile" in verified.output
    assert "The signature holds" in verified.output
    drawn_again(run, title="Another report")
    refused = error(call("verify", run, "--trust", f"{key}.pub"))
    assert (int(refused.exit_code), "is not what was signed" in str(refused)) == (5, True)
    for arguments in (["gate", run], ["report", run], ["compare", run, run, "--json"]):
        told = call(*arguments)
        assert f"SIGNATURE: {SIGNATURE} is stale" in told.output, arguments
    assert "safeml verify . --trust" in (run / "index.html").read_text()


def test_the_key_of_the_command_line_wins_over_that_of_the_settings_and_a_bad_one_stops_before_any_work(
    tmp_path: Path,
) -> None:
    ours, theirs = generate_key(tmp_path / "ours"), generate_key(tmp_path / "theirs")
    settings = parse_config({**GOOD, "sign": {"key": "ours"}}, "safeml.toml")
    config = tmp_path / "safeml.toml"

    def ids(key: Path | None, given: Config = settings) -> list[bytes]:
        return [public_bytes(each) for each in configured_keys(config, given, key)]

    assert ids(None) == [public_bytes(ours)]
    assert ids(tmp_path / "theirs") == [public_bytes(theirs)]
    assert ids(None, parse_config(GOOD, "safeml.toml")) == []
    (tmp_path / "ours").chmod(0o644)
    with pytest.raises(InputRefused, match="chmod 600"):
        ids(None)
    with pytest.raises(MissingInput, match="there is no such key"):
        ids(tmp_path / "none")
    config.write_text(
        '[model]\npath = "m.keras"\n[data.test]\nkind = "npz"\npath = "t.npz"\n[sign]\nkey = "ours"\n'
        '[[gates]]\nid = "clean"\nstage = "performance"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.9\n'
    )
    for command in ("audit", "run"):  # neither model nor data is there: the key is read before them
        assert "chmod 600" in str(error(call(command, "--config", config)))


def test_the_envelope_is_dsse_that_other_tools_read(run: Path) -> None:
    """The layout of DSSE v1 and of in-toto statements v1, read without code of safeml but for the key."""
    envelope = json.loads((run / SIGNATURE).read_bytes())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), message)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0].keys() == {"name", "digest", "annotations"}
