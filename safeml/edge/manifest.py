"""The manifest of a bundle: what it holds, for which devices, and on what evidence. Legend: H W C image, K classes, F features.

Its bytes are parsed only after the signed statement has named their sha256.
"""

import re
from typing import Any, Dict, Optional, Tuple

from . import limits, moments, strict_json
from .errors import Refused
from .manifest_types import (
    Constraints,
    Evidence,
    File,
    FloatMonitor,
    Golden,
    Input,
    Manifest,
    Model,
    Preprocessing,
    Range,
    Tolerance,
)
from .strict_json import Malformed

__all__ = [
    "Constraints",
    "Evidence",
    "File",
    "FloatMonitor",
    "Golden",
    "Input",
    "Manifest",
    "Model",
    "Preprocessing",
    "Range",
    "Tolerance",
    "check_files",
    "parse_manifest",
    "used_files",
]

FORMAT = 1
MODELS = ("int8", "float", "int8-fp16", "tftrt")
KINDS = ("onnx", "saved_model")
PRECISIONS = ("int8", "int8-fp16", "float", "tftrt")
CHANNELS = ("rgb", "bgr", "grey")
RESULTS_FILE = "audit/results.json"
FLOAT_RESULTS_FILE = "audit-float/results.json"
MONITOR_FILES = ("monitor.json", "monitor.npz")
# Written into the slot beside the files of the bundle.
OWN_FILES = ("manifest.json", "bundle.dsse.json")

NAME = re.compile(r"[a-z0-9._-]+(/[a-z0-9._-]+)*", re.ASCII)
CAPABILITY = re.compile(r"\d{1,2}\.\d", re.ASCII)


OPTIONAL = ("float_monitor",)
REQUIRED = ("format", *(name for name in Manifest._fields if name not in OPTIONAL))


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`, without its file names, which `check_files` checks.

    Raises Refused with "manifest-invalid".
    """
    try:
        if len(data) > limits.MANIFEST_BYTES:
            raise Malformed(f"it has {len(data)} bytes; expected at most {limits.MANIFEST_BYTES}")
        return _manifest(strict_json.parse(data))
    except Malformed as error:
        raise Refused("manifest-invalid", f"the manifest is refused: {error}.") from None


def check_files(manifest: Manifest) -> None:
    """Refuse unsafe, repeated, colliding or unsorted file names, and a part of the manifest whose file is not listed."""
    names, folded = set(), set()
    for one in manifest.files:
        shown = strict_json.quoted(one.name)
        if one.name in names:
            raise Refused("duplicate-file", f"the manifest lists {shown} twice.")
        if one.name.lower() in folded:
            raise Refused(
                "case-collision", f"the manifest lists {shown} and a name that differs from it in case alone."
            )
        names.add(one.name)
        folded.add(one.name.lower())
    for one, name in zip(manifest.files, sorted(names)):
        _check_name(one.name)
        if one.name != name:
            raise Refused(
                "file-name",
                f"the manifest lists {strict_json.quoted(one.name)} out of order; expected sorted names.",
            )
    for name in sorted(names):
        parent = name.rpartition("/")[0]
        while parent:
            if parent in names:
                raise Refused(
                    "file-name", f"the manifest lists {strict_json.quoted(parent)} as a file and as a folder."
                )
            parent = parent.rpartition("/")[0]
    for used in used_files(manifest):
        if used not in names:
            raise Refused(
                "file-not-listed", f"the manifest uses {strict_json.quoted(used)} and does not list it."
            )


def _check_name(name: str) -> None:
    parts = name.split("/")
    if (
        not NAME.fullmatch(name)
        or not all(part.strip(".") for part in parts)
        or len(parts) > limits.NAME_PARTS
    ):
        raise Refused(
            "file-name",
            f"the manifest lists {strict_json.quoted(name)}; expected a relative name of a-z, 0-9, '.', '_', '-' and '/' without '..' and at most {limits.NAME_PARTS} parts.",
        )
    if name in OWN_FILES:
        raise Refused("file-name", f"the manifest lists {name}, which the slot writes itself.")


def used_files(manifest: Manifest) -> Tuple[str, ...]:
    """Return the files that the parts of the manifest name: of a SavedModel its graph."""
    models = [
        one.path if one.kind == "onnx" else one.path + "/saved_model.pb" for one in manifest.models.values()
    ]
    folders = [] if manifest.monitor is None else [manifest.monitor]
    audits = [RESULTS_FILE]
    if manifest.float_monitor is not None:
        folders.append(manifest.float_monitor.folder)
        audits.append(FLOAT_RESULTS_FILE)
    monitor = [f"{folder}/{name}" for folder in folders for name in MONITOR_FILES]
    rest = [
        manifest.labels,
        manifest.preprocessing.file,
        manifest.preprocessing.raw,
        manifest.golden.file,
    ]
    return tuple(models + monitor + rest + audits)


def _manifest(value: dict) -> Manifest:
    strict_json.fields(value, "it", REQUIRED, OPTIONAL)
    strict_json.integer(value["format"], "format", FORMAT, FORMAT)
    created = moments.moment(value["created"], "created")
    expires = None if value["expires"] is None else moments.moment(value["expires"], "expires")
    if expires is not None and expires <= created:
        raise Malformed("expires is not after created")
    files = strict_json.items(value["files"], "files", limits.FILES, 1)
    manifest = Manifest(
        product=strict_json.text(value["product"], "product", 100),
        release=strict_json.integer(value["release"], "release", 1, limits.RELEASE),
        version=strict_json.text(value["version"], "version"),
        created=created,
        expires=expires,
        runtime=moments.version(value["runtime"], "runtime"),
        files=tuple(_file(one, f"files[{place}]") for place, one in enumerate(files)),
        classes=strict_json.integer(value["classes"], "classes", 2, limits.CLASSES),
        features=strict_json.integer(value["features"], "features", 0, limits.FEATURES),
        input=_input(value["input"]),
        models=_models(value["models"]),
        labels=strict_json.text(value["labels"], "labels"),
        preprocessing=_preprocessing(value["preprocessing"]),
        golden=_golden(value["golden"]),
        monitor=_folder(value["monitor"], "monitor"),
        monitor_model=None
        if value["monitor_model"] is None
        else strict_json.text(value["monitor_model"], "monitor_model"),
        constraints=_constraints(value["constraints"]),
        evidence=_evidence(value["evidence"]),
        float_monitor=None if value.get("float_monitor") is None else _float_monitor(value["float_monitor"]),
    )
    _check_agreement(manifest)
    return manifest


def _check_agreement(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself."""
    int8 = manifest.models["int8"]
    if (manifest.monitor is None) != (manifest.monitor_model is None):
        raise Malformed("monitor and monitor_model are not both there or both null")
    if manifest.monitor_model not in (None, int8.fingerprint):
        raise Malformed("the monitor was fitted on another model than int8")
    if manifest.evidence.model_fingerprint != int8.fingerprint:
        raise Malformed("the audited model is another one than int8")
    own = manifest.float_monitor
    if own is not None and (
        "float" not in manifest.models or own.model != manifest.models["float"].fingerprint
    ):
        raise Malformed("the float monitor was fitted on another model than float")
    if own is not None and own.folder == manifest.monitor:
        raise Malformed("monitor and float_monitor are one folder")
    for model in manifest.models.values():
        if model.precision not in manifest.golden.tolerances:
            raise Malformed(
                f"golden.tolerances has no {model.precision}, the precision of the model {model.key}"
            )


def _file(value: Any, where: str) -> File:
    strict_json.fields(value, where, ("name", "bytes", "sha256"))
    return File(
        strict_json.text(value["name"], where + ".name", limits.NAME_CHARACTERS),
        strict_json.integer(value["bytes"], where + ".bytes", 0, limits.FILE_BYTES),
        strict_json.sha256(value["sha256"], where + ".sha256"),
    )


def _input(value: Any) -> Input:
    strict_json.fields(value, "input", Input._fields)
    channels = strict_json.one_of(value["channels"], "input.channels", CHANNELS)
    depth = 1 if channels == "grey" else 3
    low, high = (strict_json.number(value[key], "input." + key) for key in ("low", "high"))
    if low >= high:
        raise Malformed("input.low is not below input.high")
    mean, std = (_per_channel(value[key], "input." + key, depth) for key in ("mean", "std"))
    if len(mean) != len(std) or any(one <= 0 for one in std):
        raise Malformed("input.mean and input.std are not of one length with each std above 0")
    return Input(
        strict_json.integer(value["height"], "input.height", 1, limits.SIDE),
        strict_json.integer(value["width"], "input.width", 1, limits.SIDE),
        strict_json.integer(value["depth"], "input.depth", depth, depth),
        channels,
        low,
        high,
        mean,
        std,
        strict_json.boolean(value["standardise"], "input.standardise"),
    )


def _per_channel(value: Any, where: str, depth: int) -> Tuple[float, ...]:
    numbers = strict_json.items(value, where, depth)
    if len(numbers) not in (0, depth):
        raise Malformed(f"{where} has {len(numbers)} numbers; expected none or {depth}")
    return tuple(strict_json.number(one, where) for one in numbers)


def _models(value: Any) -> Dict[str, Model]:
    strict_json.fields(value, "models", ("int8",), MODELS[1:])
    return {key: _model(key, value[key]) for key in MODELS if key in value}


def _model(key: str, value: Any) -> Model:
    where = f"models.{key}"
    place = "folder" if isinstance(value, dict) and "folder" in value else "file"
    strict_json.fields(
        value, where, (place, "fingerprint", "kind", "precision", "opset", "inputs", "outputs")
    )
    kind = strict_json.one_of(
        value["kind"], where + ".kind", ("saved_model" if place == "folder" else "onnx",)
    )
    read = _folder if place == "folder" else strict_json.text
    return Model(
        key,
        read(value[place], f"{where}.{place}") or "",
        strict_json.text(value["fingerprint"], where + ".fingerprint"),
        kind,
        strict_json.one_of(value["precision"], where + ".precision", (key,)),
        strict_json.integer(value["opset"], where + ".opset", *((0, 0) if place == "folder" else (7, 30))),
        strict_json.texts(value["inputs"], where + ".inputs", 1, 1),
        strict_json.texts(value["outputs"], where + ".outputs", limits.OUTPUTS, 1),
    )


def _folder(value: Any, where: str) -> Optional[str]:
    """Return a folder without "/" at its end, or None."""
    name = strict_json.optional_text(value, where)
    return name[:-1] if name is not None and name.endswith("/") else name


def _preprocessing(value: Any) -> Preprocessing:
    strict_json.fields(value, "preprocessing", Preprocessing._fields)
    return Preprocessing(
        *(strict_json.text(value[key], "preprocessing." + key) for key in Preprocessing._fields)
    )


def _golden(value: Any) -> Golden:
    strict_json.fields(value, "golden", Golden._fields)
    tolerances = strict_json.fields(value["tolerances"], "golden.tolerances", ("int8",), PRECISIONS[1:])
    result = {}
    for precision, one in sorted(tolerances.items()):
        where = f"golden.tolerances.{precision}"
        strict_json.fields(one, where, Tolerance._fields)
        result[precision] = Tolerance(
            strict_json.number(one["max_abs"], where + ".max_abs", 0.0, 1e6),
            strict_json.integer(one["flips"], where + ".flips", 0, 0),
        )
    return Golden(strict_json.text(value["file"], "golden.file"), result)


def _float_monitor(value: Any) -> FloatMonitor:
    where = "float_monitor"
    strict_json.fields(value, where, FloatMonitor._fields)
    return FloatMonitor(
        _folder(strict_json.text(value["folder"], where + ".folder"), where) or "",
        strict_json.text(value["model"], where + ".model"),
        strict_json.number(value["max_abs"], where + ".max_abs", 0.0, 1e9),
        strict_json.text(value["verdict"], where + ".verdict"),
        strict_json.text(value["profile"], where + ".profile"),
        strict_json.sha256(value["results_sha256"], where + ".results_sha256"),
    )


def _constraints(value: Any) -> Constraints:
    strict_json.fields(value, "constraints", Constraints._fields)
    capabilities = strict_json.texts(
        value["compute_capabilities"], "constraints.compute_capabilities", limits.VERSIONS
    )
    for one in capabilities:
        if not CAPABILITY.fullmatch(one):
            raise Malformed(
                'constraints.compute_capabilities holds no capability; expected ones such as "8.7"'
            )
    return Constraints(
        strict_json.texts(value["architectures"], "constraints.architectures", limits.VERSIONS),
        capabilities,
        _range(value["tensorrt"], "constraints.tensorrt"),
        _range(value["jetpack"], "constraints.jetpack"),
        strict_json.integer(value["memory_mb"], "constraints.memory_mb", 0, limits.MEMORY_MB),
    )


def _range(value: Any, where: str) -> Range:
    strict_json.fields(value, where, Range._fields)
    least, below = (
        None if value[key] is None else moments.version(value[key], f"{where}.{key}") for key in Range._fields
    )
    if least is not None and below is not None and least >= below:
        raise Malformed(f"{where}.least is not below {where}.below")
    return Range(least, below)


def _evidence(value: Any) -> Evidence:
    strict_json.fields(value, "evidence", Evidence._fields)
    counts = ("passed", "failed", "not_proven", "waived")
    gates = strict_json.fields(value["gates"], "evidence.gates", counts)
    return Evidence(
        strict_json.text(value["verdict"], "evidence.verdict"),
        strict_json.text(value["profile"], "evidence.profile"),
        strict_json.text(value["rules"], "evidence.rules"),
        strict_json.sha256(value["results_sha256"], "evidence.results_sha256"),
        {key: strict_json.integer(gates[key], "evidence.gates." + key, 0, limits.GATES) for key in counts},
        strict_json.text(value["model_fingerprint"], "evidence.model_fingerprint"),
    )
