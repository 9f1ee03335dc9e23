"""The device page: one HTML file without script, drawn from the records of preflight, build, selftest, bench and run.

It states what was measured on this device, and what was not. Nothing is computed here but shares of counts.
"""

import base64
import hashlib
from typing import Any, Dict, List, Optional, Tuple

from .page_parts import MARKS, Html, caption, histogram, icon, pairs, section, shares, state, table, text
from .page_style import STYLE
from .records import KINDS
from .safety import REASONS
from .version import VERSION

Records = Dict[str, Optional[Dict[str, Any]]]
UNKNOWN = "unknown"
SOURCES = {"npz": "an .npz file", "folder": "a folder of images", "video": "a video", "camera": "a camera"}


def page(records: Records) -> str:
    """Return the page. records: by kind; None for a command that was not run."""
    whole = {kind: records.get(kind) for kind in KINDS}
    release = _first(whole, ("run", "bench", "selftest", "build"))
    colour, word, sentence = verdict(whole)
    title = "{}, release {}".format(release.get("product", "no release"), release.get("release", "–"))
    parts = [
        _banner(colour, word, sentence, release),
        _identity(whole, release),
        _facts(_facts_of(whole)),
        _preflight(whole["preflight"]),
        _build(whole["build"]),
        _selftest(whole["selftest"]),
        _bench(whole["bench"]),
        _run(whole["run"]),
        section(
            "Not measured",
            Html("<ul>{}</ul>".format("".join(f"<li>{text(line)}</li>" for line in missing(whole)))),
        ),
    ]
    style = base64.b64encode(hashlib.sha256(STYLE.encode("utf-8")).digest()).decode("ascii")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<title>{} · {}</title>\n<style>{}</style>\n</head>\n<body>\n{}\n<div class="wrap">\n'
        '<header><div class="crumb"><b>safeml</b><span>/</span><span>device</span><span>/</span><span>{}</span></div></header>\n'
        "<main>\n<h1>{}</h1>\n{}\n</main>\n"
        '<footer class="foot"><span>Drawn from the records of this device. Evidence that may support a safety case; it does not certify.</span>'
        "<span>safeml-edge {}</span></footer>\n</div>\n</body>\n</html>\n"
    ).format(
        style,
        text(word),
        text(title),
        STYLE,
        MARKS,
        text(release.get("device_id", UNKNOWN)),
        text(title),
        "\n".join(parts),
        text(VERSION),
    )


def verdict(records: Records) -> Tuple[str, str, str]:
    """Return colour, word and sentence: the self-test decides, and doubt never passes."""
    tested = records.get("selftest")
    if tested is None:
        return "none", "not tested", "No self-test was run on this device."
    if not tested.get("passed"):
        failed = [check["name"] for check in tested.get("checks", []) if check.get("status") == "failed"]
        return (
            "fail",
            "self-test failed",
            "Failed: {}. The release must not be used here.".format(", ".join(failed) or UNKNOWN),
        )
    for kind in ("build", "bench", "run"):
        other = records.get(kind)
        if other is not None and other.get("release") != tested.get("release"):
            return (
                "unsure",
                "records differ",
                "The self-test is of release {}, and the record of `{}` is of release {}.".format(
                    tested.get("release"), kind, other.get("release")
                ),
            )
    if tested.get("overridden"):
        return (
            "unsure",
            "tested, overridden",
            "The self-test passed. The audit did not, and the signer overrode it.",
        )
    return (
        "pass",
        "self-test passed",
        "This device computes the model that was audited, within the tolerances of the release.",
    )


def missing(records: Records) -> List[str]:
    """Return what was not measured, as sentences."""
    lines = [f"`safeml-edge {kind}` was not run." for kind in KINDS if records.get(kind) is None]
    facts = _facts_of(records)
    if facts.get("l4t") is None:
        lines.append("This machine is no Jetson. No latency on this page is one of a Jetson.")
    for name, words in (
        ("power_mode", "The power mode"),
        ("clocks", "The clocks"),
        ("temperatures", "The temperatures"),
        ("tensorrt", "TensorRT"),
    ):
        if not facts.get(name):
            lines.append(
                f"{words} could not be read."
                if name != "tensorrt"
                else "TensorRT is not installed; no engine was run."
            )
    measured = records.get("bench")
    if measured is not None and measured.get("power_w") is None:
        lines.append("The power was not measured: no INA3221 monitor was found.")
    tested = records.get("selftest")
    lines += [
        check["sentence"] for check in (tested or {}).get("checks", []) if check.get("status") == "not_run"
    ]
    lines.append("Accuracy is not measured on the device. It is in the audit of the release.")
    return lines


def _banner(colour: str, word: str, sentence: str, release: Dict[str, Any]) -> Html:
    detail = ""
    if release.get("override"):
        detail = f'<p class="detail"><b class="fail">Override: {text(release["override"])}</b></p>'
    return Html(
        f'<div class="verdict v-{colour}"><div><p class="word {colour}">{icon(colour)}{text(word)}</p>'
        f'<p class="sentence">{text(sentence)}</p>{detail}</div></div>'
    )


def _identity(records: Records, release: Dict[str, Any]) -> Html:
    facts = _facts_of(records)
    entries = (
        (
            "Device",
            facts.get("device_name") or facts.get("architecture") or UNKNOWN,
            "JetPack {}".format(facts.get("jetpack") or "none"),
        ),
        (
            "Backend",
            release.get("backend")
            or ((release.get("details") or {}).get("file") and "onnxruntime")
            or UNKNOWN,
            "model {}".format(release.get("precision") or UNKNOWN),
        ),
        ("Audit", release.get("verdict") or UNKNOWN, "{} profile".format(release.get("profile") or UNKNOWN)),
        ("Recorded", release.get("at") or UNKNOWN, "device {}".format(release.get("device_id") or UNKNOWN)),
    )
    rows = "".join(
        f'<div><dt>{text(name)}</dt><dd>{text(value)}<span class="sub">{text(below)}</span></dd></div>'
        for name, value, below in entries
    )
    return Html(f'<dl class="identity after">{rows}</dl>')


def _facts(facts: Dict[str, Any]) -> Html:
    if not facts:
        return Html("")
    rows = [
        ("Processor", facts.get("architecture") or UNKNOWN),
        ("System", facts.get("runtime") or UNKNOWN),
        ("L4T", facts.get("l4t") or "none"),
        ("TensorRT", facts.get("tensorrt") or "none"),
        ("CUDA", facts.get("cuda") or "none"),
        (
            "GPU",
            "compute capability {}".format(facts["compute_capability"])
            if facts.get("compute_capability")
            else "none found",
        ),
        ("Memory", "{} MB, {} MB free".format(facts.get("memory_mb"), facts.get("memory_free_mb"))),
        ("Power mode", facts.get("power_mode") or UNKNOWN),
        ("Clocks", _word(facts.get("clocks_locked"), "locked", "not locked")),
        ("Temperature", _hottest(facts.get("temperatures"))),
        ("Python", facts.get("python") or UNKNOWN),
    ]
    return section("Device", pairs(rows))


def _preflight(record: Optional[Dict[str, Any]]) -> Html:
    if record is None:
        return Html("")
    rows = [(state(entry["status"]), entry["name"], entry["sentence"]) for entry in record["findings"]]
    return section("Preflight", table(("Result", "What", "Finding"), rows))


def _build(record: Optional[Dict[str, Any]]) -> Html:
    if record is None:
        return Html("")
    details = record["details"]
    rows = [("Backend", record["backend"]), ("Model", record["precision"])]
    words = {
        "engine": "Engine",
        "rebuilt_because": "Built because",
        "seconds": "Build time, s",
        "engine_bytes": "Engine, bytes",
        "layers": "Layers by type",
        "flags": "Builder flags",
        "tensorrt": "TensorRT",
        "onnxruntime": "ONNX Runtime",
        "cuda": "CUDA by",
        "note": "Note",
    }
    rows += [
        (title, _flat(details[key])) for key, title in words.items() if details.get(key) not in (None, "", [])
    ]
    return section("Engine", pairs(rows))


def _selftest(record: Optional[Dict[str, Any]]) -> Html:
    if record is None:
        return Html("")
    rows = [(state(entry["status"]), entry["name"], entry["sentence"]) for entry in record["checks"]]
    return section("Self-test", table(("Result", "Check", "Outcome"), rows))


def _bench(record: Optional[Dict[str, Any]]) -> Html:
    if record is None:
        return Html("")
    latency, power, heat = record["latency_ms"], record["power_w"], record["temperature_c"]
    before = record["before"]
    rows = [
        (
            "Calls",
            "{} after {} of warm-up, batch {}".format(record["calls"], record["warm_up"], record["batch"]),
        ),
        ("p50, p95, p99", "{p50} ms, {p95} ms, {p99} ms".format(**latency)),
        ("Largest", "{max} ms".format(**latency)),
        ("Throughput", "{} images/s".format(record["images_per_second"])),
        (
            "Power",
            "{} W on average, at most {} W".format(power["mean"], power["max"]) if power else "not measured",
        ),
        ("Temperature", "at most {} °C".format(heat["max"]) if heat else "not measured"),
        ("Throttled", _word(record["throttled"], "yes", "no")),
        ("Clocks", _word(before["clocks_locked"], "locked", "not locked")),
    ]
    marks = {key: latency[key] for key in ("p50", "p95", "p99")}
    drawn = histogram(record["histogram"]["edges_ms"], record["histogram"]["counts"], marks)
    words = "Time of one call of {} ({}) with its copies, on this device in this state. Slower calls than the 99.5th percentile are in the last bar.".format(
        record["backend"], record["precision"]
    )
    return section("Latency", pairs(rows), Html('<div class="after"></div>'), drawn, caption(words))


def _run(record: Optional[Dict[str, Any]]) -> Html:
    if record is None:
        return Html("")
    latency = record["latency_ms"] or {}
    rows = [
        (
            "Frames",
            "{} in {} s, {} frames/s, from {}".format(
                record["frames"],
                record["seconds"],
                record["frames_per_second"],
                SOURCES.get(record["source"], record["source"]),
            ),
        ),
        (
            "Latency",
            "p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, largest {max} ms".format(**latency)
            if latency
            else "none",
        ),
        ("Pauses for heat", record["paused"]),
    ]
    if record.get("note"):
        rows.append(("Note", record["note"]))
    parts = [pairs(rows), Html('<div class="after"></div>')]
    counts = sorted(record["decisions"].items(), key=lambda entry: -entry[1])
    if counts:
        parts += [
            shares(counts),
            caption("Decisions of the monitor, by frames. A frame that is not TRUST has the label unknown."),
        ]
    reasons = [
        (key, REASONS.get(key, ""), count)
        for key, count in sorted(record["reasons"].items(), key=lambda entry: -entry[1])
    ]
    reasons += [
        ("input: " + key, "input check of the monitor", count)
        for key, count in sorted(record["checks"].items())
    ]
    if reasons:
        parts += [Html('<div class="after"></div>'), table(("Reason", "Meaning", "Frames"), reasons, (2,))]
    return section("Run", *parts)


def _facts_of(records: Records) -> Dict[str, Any]:
    for kind in ("run", "bench", "selftest", "build", "preflight"):
        record = records.get(kind)
        if record is not None and isinstance(record.get("facts"), dict):
            return dict(record["facts"])
    return {}


def _first(records: Records, kinds: Tuple[str, ...]) -> Dict[str, Any]:
    for kind in kinds:
        record = records.get(kind)
        if record is not None:
            return record
    return {}


def _hottest(zones: Optional[Dict[str, float]]) -> str:
    if not zones:
        return UNKNOWN
    name = max(zones, key=lambda zone: zones[zone])
    return f"{zones[name]:.0f} °C ({name})"


def _word(value: Optional[bool], yes: str, no: str) -> str:
    return UNKNOWN if value is None else (yes if value else no)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in sorted(value.items()))
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)
