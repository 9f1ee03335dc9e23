"""The manifest: what it may hold, and what the reader refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from safeml.edge import limits
from safeml.edge.manifest import File, Model, Range, Tolerance, check_files, parse_manifest, used_files
from tests.edge_bundles import FINGERPRINT, FLOAT_FINGERPRINT, Bundle, as_json, refused


def parsed(change: Any = None, bundle: Bundle | None = None) -> Any:
    bundle = bundle or Bundle()
    value = json.loads(bundle.manifest_bytes())
    if change is not None:
        change(value)
    return parse_manifest(as_json(value))


def test_each_field_is_read() -> None:
    manifest = parsed()
    assert (manifest.product, manifest.release, manifest.version) == ("test signs", 5, "1.5")
    assert manifest.expires - manifest.created == 365 * 86400
    assert manifest.runtime == (0, 1)
    assert manifest.files[0] == File("audit/results.json", 15, manifest.evidence.results_sha256)
    assert (manifest.classes, manifest.features) == (2, 4)
    assert (manifest.input.height, manifest.input.depth, manifest.input.mean) == (8, 3, ())
    assert manifest.models == {
        "int8": Model(
            "int8",
            "models/model.int8.onnx",
            FINGERPRINT,
            "onnx",
            "int8",
            13,
            ("images",),
            ("logits", "features"),
        )
    }
    assert manifest.golden.tolerances == {"int8": Tolerance(0.01, 0)}
    assert manifest.constraints.tensorrt == Range((8, 2), (11,))
    assert manifest.monitor == "monitor"
    assert manifest.evidence.gates == {"passed": 1, "failed": 0, "not_proven": 0, "waived": 0}
    check_files(manifest)


def tftrt(value: dict[str, Any]) -> None:
    value["models"]["tftrt"] = {
        "folder": "models/tftrt/",
        "fingerprint": FINGERPRINT,
        "kind": "saved_model",
        "precision": "tftrt",
        "opset": 0,
        "inputs": ["images"],
        "outputs": ["logits"],
    }
    value["golden"]["tolerances"]["tftrt"] = {"max_abs": 0.5, "flips": 0}


def test_a_saved_model_is_a_folder() -> None:
    manifest = parsed(tftrt)
    assert manifest.models["tftrt"].path == "models/tftrt"
    assert "models/tftrt/saved_model.pb" in used_files(manifest)
    with refused("file-not-listed", r"saved_model\.pb"):
        check_files(manifest)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(expires=None),
        lambda v: v.update(features=0),
        lambda v: v.update(monitor=None, monitor_model=None),
        lambda v: v["input"].update(mean=[0.5] * 3, std=[0.25] * 3, standardise=True, low=-1, high=1),
        lambda v: v["input"].update(channels="grey", depth=1),
        lambda v: v["constraints"].update(architectures=[], compute_capabilities=[], memory_mb=0),
        lambda v: v["constraints"].update(tensorrt={"least": None, "below": None}),
    ],
)
def test_what_is_optional_may_be_absent(change: Any) -> None:
    check_files(parsed(change))


def test_the_monitor_of_the_float_model_is_read() -> None:
    manifest = parsed(bundle=Bundle().with_float())
    check_files(manifest)
    own = manifest.float_monitor
    assert (own.folder, own.model, own.max_abs, own.verdict) == (
        "monitor-float",
        FLOAT_FINGERPRINT,
        0.05,
        "passed",
    )
    assert set(used_files(manifest)) >= {"monitor-float/monitor.npz", "audit-float/results.json"}
    assert parsed().float_monitor is None
    assert parsed(lambda v: v.update(float_monitor=None)).float_monitor is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["float_monitor"].update(model="other"), "fitted on another model than float"),
        (lambda v: v["models"].pop("float"), "fitted on another model than float"),
        (lambda v: v["float_monitor"].update(folder="monitor"), "are one folder"),
        (lambda v: v["float_monitor"].update(folder=None), "folder is null"),
        (lambda v: v["float_monitor"].update(max_abs=-1), "max_abs is -1"),
        (lambda v: v["float_monitor"].update(results_sha256="0"), "no sha256"),
        (lambda v: v["float_monitor"].pop("verdict"), "has no verdict"),
        (lambda v: v["float_monitor"].update(extra=1), "unknown key"),
    ],
)
def test_a_float_monitor_that_breaks_the_format_is_refused(change: Any, words: str) -> None:
    with refused("manifest-invalid", words):
        parsed(change, Bundle().with_float())


@pytest.mark.parametrize("name", ["monitor-float/monitor.json", "audit-float/results.json"])
def test_a_file_of_the_float_monitor_that_is_not_listed_is_refused(name: str) -> None:
    bundle = Bundle().with_float()
    del bundle.files[name]
    with refused("file-not-listed", name):
        check_files(parsed(bundle=bundle))


BAD = [
    (lambda v: v.pop("golden"), "has no golden"),
    (lambda v: v.update(extra=1), 'unknown key "extra"'),
    (lambda v: v.update(format=2), "format is 2"),
    (lambda v: v.update(format=True), "format is a truth value"),
    (lambda v: v.update(product=""), "product"),
    (lambda v: v.update(product="a\nb"), "control character"),
    (lambda v: v.update(release=0), "release is 0"),
    (lambda v: v.update(release=2**31), "release"),
    (lambda v: v.update(release=5.0), "release is a number"),
    (lambda v: v.update(release="5"), "release is a text"),
    (lambda v: v.update(created="today"), "created is no moment"),
    (lambda v: v.update(expires="2026-11-01T00:00:00Z"), "expires is not after created"),
    (lambda v: v.update(runtime="1.x"), "runtime is no version"),
    (lambda v: v.update(classes=1), "classes is 1"),
    (lambda v: v.update(features=-1), "features is -1"),
    (lambda v: v.update(files=[]), "files has 0 items"),
    (lambda v: v.update(files=[{"name": "a", "bytes": 0}] * (limits.FILES + 1)), "files has 513 items"),
    (lambda v: v["files"][0].update(bytes=-1), "bytes is -1"),
    (lambda v: v["files"][0].update(bytes=limits.FILE_BYTES + 1), "bytes is"),
    (lambda v: v["files"][0].update(sha256="0"), "no sha256"),
    (lambda v: v["files"][0].update(mode=0o777), "unknown key"),
    (lambda v: v["input"].update(depth=1), "depth is 1"),
    (lambda v: v["input"].update(channels="hsv"), "input.channels"),
    (lambda v: v["input"].update(height=0), "input.height"),
    (lambda v: v["input"].update(low=1.0), "low is not below"),
    (lambda v: v["input"].update(mean=[0.0]), "has 1 numbers"),
    (lambda v: v["input"].update(mean=[0.0] * 3), "of one length"),
    (lambda v: v["input"].update(mean=[0.0] * 3, std=[0.0] * 3), "each std above 0"),
    (lambda v: v["input"].update(standardise=1), "standardise"),
    (lambda v: v["models"].pop("int8"), "has no int8"),
    (lambda v: v["models"].update(int4={}), "unknown key"),
    (lambda v: v["models"]["int8"].update(precision="float"), "expected one of int8"),
    (lambda v: v["models"]["int8"].update(kind="saved_model"), "expected one of onnx"),
    (lambda v: v["models"]["int8"].update(opset=3), "opset is 3"),
    (lambda v: v["models"]["int8"].update(outputs=[]), "outputs has 0 items"),
    (lambda v: v["models"]["int8"].update(inputs=["a", "b"]), "inputs has 2 items"),
    (lambda v: v["models"]["int8"].update(folder="x"), "unknown key|has no"),
    (lambda v: v["models"]["int8"].update(fingerprint="other"), "monitor was fitted on another model"),
    (lambda v: v["evidence"].update(model_fingerprint="other"), "audited model is another one"),
    (lambda v: v.update(monitor=None), "not both there or both null"),
    (lambda v: v.update(monitor_model=None), "not both there or both null"),
    (lambda v: v["golden"].update(tolerances={}), "has no int8"),
    (lambda v: v["golden"]["tolerances"]["int8"].update(max_abs=-1), "max_abs is -1"),
    (lambda v: v["golden"]["tolerances"]["int8"].update(flips=1), "flips is 1"),
    (lambda v: (tftrt(v), v["golden"]["tolerances"].pop("tftrt")), "has no tftrt"),
    (lambda v: v["constraints"].update(compute_capabilities=["sm_87"]), "holds no capability"),
    (lambda v: v["constraints"].update(tensorrt={"least": "11", "below": "8"}), "least is not below"),
    (lambda v: v["constraints"].update(tensorrt={"least": "8", "below": "8.0"}), "least is not below"),
    (lambda v: v["constraints"].update(tensorrt={"least": "8"}), "has no below"),
    (lambda v: v["constraints"].update(memory_mb=-1), "memory_mb"),
    (lambda v: v["constraints"].update(gpu="x"), "unknown key"),
    (lambda v: v["evidence"].update(results_sha256="0"), "no sha256"),
    (lambda v: v["evidence"]["gates"].update(passed=-1), "gates.passed is -1"),
    (lambda v: v["evidence"]["gates"].pop("waived"), "has no waived"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD, ids=range(len(BAD)))
def test_a_manifest_that_breaks_the_format_is_refused(change: Any, words: str) -> None:
    with refused("manifest-invalid", words):
        parsed(change)


def test_each_object_has_its_keys_and_no_other() -> None:
    """A key that the reader passed over could mean something to another reader."""
    tested = set()
    for where, names in objects(json.loads(Bundle().with_float().manifest_bytes())):
        tested.add(where[-1] if where else "")
        for name in names:
            if (*where, name) == ("float_monitor",):
                continue
            with refused("manifest-invalid"):
                parsed(
                    lambda value, where=where, name=name: inside(value, where).pop(name),
                    Bundle().with_float(),
                )
        with refused("manifest-invalid", "unknown key"):
            parsed(lambda value, where=where: inside(value, where).update(extra=1), Bundle().with_float())
    assert tested == {
        *(
            "",
            "input",
            "models",
            "int8",
            "preprocessing",
            "golden",
            "tolerances",
            "constraints",
            "tensorrt",
            "jetpack",
        ),
        *("evidence", "gates", "float", "float_monitor", *range(12)),
    }


def objects(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], list[str]]]:
    """The path and the keys of each object in a JSON value."""
    if isinstance(value, dict):
        yield where, list(value)
        for name, one in value.items():
            yield from objects(one, (*where, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from objects(one, (*where, place))


def inside(value: Any, where: tuple[Any, ...]) -> Any:
    for step in where:
        value = value[step]
    return value


def test_a_manifest_may_have_the_whole_length_that_is_allowed() -> None:
    content = Bundle().manifest_bytes()
    assert parse_manifest(content.ljust(limits.MANIFEST_BYTES)).release == 5
    with refused("manifest-invalid", "expected at most 65536"):
        parse_manifest(content.ljust(limits.MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"{" * 100,
        b'{"format": 1, "format": 1}',
        b" " * (limits.MANIFEST_BYTES + 1),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with refused("manifest-invalid"):
        parse_manifest(data)


def renamed(old: str, new: str) -> Any:
    """A change of one name in the list, kept sorted."""

    def change(value: dict[str, Any]) -> None:
        row = next(row for row in value["files"] if row["name"] == old)
        value["files"].append({**row, "name": new})
        value["files"].sort(key=lambda row: row["name"])

    return change


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        "/",
        ".",
        "..",
        "a/.",
        "a/./b",
        "...",
        "a/.../b",
        "A",
        "a b",
        "a\\b",
        "c:x",
        "ä",
        "a\u202eb",
        "a%2fb",
        "labels.json ",
        "/".join("a" * (limits.NAME_PARTS + 1)),
        "manifest.json",
        "bundle.dsse.json",
    ],
)
def test_an_unsafe_name_is_refused(name: str) -> None:
    with refused("file-name"):
        check_files(parsed(renamed("labels.json", name)))


def test_a_name_that_is_too_long_is_refused() -> None:
    with refused("manifest-invalid", "characters; expected 1 to 200"):
        parsed(renamed("labels.json", "a" * (limits.NAME_CHARACTERS + 1)))


@pytest.mark.parametrize("name", ["a", "a-b_c.d", ".hidden", "a/b/c/d/e/f/g/h", "0", "a..b"])
def test_a_plain_name_is_accepted(name: str) -> None:
    check_files(parsed(renamed("labels.json", name)))


def test_collisions_have_codes_of_their_own() -> None:
    with refused("duplicate-file"):
        check_files(parsed(renamed("labels.json", "labels.json")))
    with refused("case-collision"):
        check_files(parsed(renamed("labels.json", "Labels.json")))
    with refused("file-name", "as a file and as a folder"):
        check_files(parsed(renamed("labels.json", "labels.json/x")))
    with refused("file-name", "out of order"):
        check_files(parsed(lambda value: value["files"].reverse()))


@pytest.mark.parametrize(
    "name",
    [
        "audit/results.json",
        "golden/golden.npz",
        "golden/raw.npz",
        "labels.json",
        "models/model.int8.onnx",
        "monitor/monitor.json",
        "monitor/monitor.npz",
        "preprocessing.json",
    ],
)
def test_a_file_that_is_used_must_be_listed(name: str) -> None:
    def change(value: dict[str, Any]) -> None:
        value["files"] = [row for row in value["files"] if row["name"] != name]

    with refused("file-not-listed", name):
        check_files(parsed(change))


def test_a_message_shows_an_untrusted_name_short_and_printable() -> None:
    with refused(
        "file-name", r"\\u001b\[31m|\\u202e"
    ):  # what is checked first; `refused` asks for a printable sentence
        check_files(parsed(renamed("labels.json", "a\u202e" + "b" * 150)))
