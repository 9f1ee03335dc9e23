"""What devices recorded (`safeml-edge selftest`, `bench`, `run`), read beside the runs of the host, and two of them compared.

A device record is a JSON file that a device wrote and that is not signed: it is evidence of the one who copied it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safeml.comparison.records import DeviceComparison, DeviceRecord, DeviceTrend, DeviceValue, Unreadable
from safeml.edge import strict_json
from safeml.edge.records import MOST_BYTES
from safeml.errors import ConfigError, InputRefused
from safeml.store.files import read_plain
from safeml.wording import counted

KINDS = ("selftest", "bench", "run")
MOST_RECORDS = 5000
LATENCIES = ("p50", "p95", "p99", "max")
# What two records must share, so that a difference of their numbers is one of the release.
CONDITIONS = {
    "kind": "the commands",
    "device_id": "the devices",
    "board": "the boards",
    "precision": "the precisions",
    "backend": "the backends",
    "batch": "the batch sizes",
    "power_mode": "the power modes",
    "source": "the sources of the frames",
}
NO_TEST = "One measurement on each side: the numbers have no interval, and no test is made."


def device_files(folder: Path) -> list[Path]:
    """Return the files below `folder` that have the name of a device record; a run.json beside results.json is none."""
    files = sorted(path for kind in KINDS for path in folder.rglob(f"{kind}.json"))
    files = [path for path in files if is_device_record(path)]
    if len(files) > MOST_RECORDS:
        raise ConfigError(f"{folder}: holds {len(files):,} records of devices; expected at most {MOST_RECORDS:,}. Give a folder with fewer.")  # fmt: skip
    return files


def read_devices(folder: Path) -> tuple[list[DeviceRecord], list[Unreadable]]:
    """Return the records of devices below `folder` in the order of their time, and what could not be read."""
    records: list[DeviceRecord] = []
    unreadable: list[Unreadable] = []
    for path in device_files(folder):
        place = path.relative_to(folder).as_posix()
        try:
            records.append(read_device(path, place))
        except InputRefused as error:
            unreadable.append(Unreadable(path=place, reason=str(error)))
    return sorted(records, key=lambda record: (record.at, record.path)), unreadable


def is_device_record(path: Path) -> bool:
    """Return whether a file has the name of a device record, as against the run.json beside the results of a run."""
    return (
        path.suffix == ".json"
        and path.stem in KINDS
        and path.is_file()
        and not (path.parent / "results.json").exists()
    )


def read_device(path: Path, place: str = "") -> DeviceRecord:
    """Read one record. place: as it is shown. Raises InputRefused for a file that is not of `safeml-edge`."""
    try:
        value = strict_json.parse(read_plain(path, MOST_BYTES))
        return _record(value, place or path.name)
    except strict_json.Malformed as error:
        reason = str(error)
    except (OSError, ValueError) as error:
        reason = str(error)
    raise InputRefused(f"{path}: is no record of `safeml-edge selftest`, `bench` or `run` ({reason[:150]}); copy it from the folder records/ of the device again.")  # fmt: skip


def _record(value: dict[str, Any], place: str) -> DeviceRecord:
    text = strict_json.text
    kind = strict_json.one_of(value.get("kind"), "kind", KINDS)
    facts = value.get("facts") if isinstance(value.get("facts"), dict) else {}
    read = {"selftest": _selftest, "bench": _bench, "run": _frames}[kind]
    passed, values = read(value)
    return DeviceRecord(
        path=place,
        kind=kind,
        at=text(value.get("at"), "at"),
        device_id=text(value.get("device_id"), "device_id"),
        board=_known(facts, "device_name", "architecture"),
        power_mode=_known(facts, "power_mode"),
        product=text(value.get("product"), "product"),
        release=strict_json.integer(value.get("release"), "release", 1, 2**31 - 1),
        model=text(value.get("model"), "model"),
        precision=text(value.get("precision"), "precision"),
        backend=_known(value, "backend"),
        batch=_known(value, "batch"),
        source=_known(value, "source"),
        passed=passed,
        overridden=strict_json.boolean(value.get("overridden"), "overridden"),
        values=values,
    )


def _known(value: Any, *names: str) -> str:
    """Return the first of the named texts or numbers that is there, or "unknown"."""
    found = next((value[name] for name in names if isinstance(value.get(name), str | int)), None)
    return "unknown" if found is None else str(found)[:100]


def _selftest(value: dict[str, Any]) -> tuple[bool, list[DeviceValue]]:
    passed = strict_json.boolean(value.get("passed"), "passed")
    checks = strict_json.items(value.get("checks"), "checks", 1000)
    states = [check.get("status") if isinstance(check, dict) else None for check in checks]
    if passed and "failed" in states:
        raise strict_json.Malformed("it is passed although a check failed")
    counts = {name: states.count(name) for name in ("passed", "failed", "not_run")}
    return passed, [
        DeviceValue(name=f"checks {name.replace('_', ' ')}", value=count) for name, count in counts.items()
    ]


def _bench(value: dict[str, Any]) -> tuple[None, list[DeviceValue]]:
    return None, [*_latencies(value), *_numbers(value, {"images_per_second": ("images per second", "")})]


def _frames(value: dict[str, Any]) -> tuple[None, list[DeviceValue]]:
    shown = {"frames": ("frames", ""), "frames_per_second": ("frames per second", ""), "trusted": ("share of frames with TRUST", "")}  # fmt: skip
    return None, [*_latencies(value), *_numbers(value, shown)]


def _latencies(value: dict[str, Any]) -> list[DeviceValue]:
    table = value.get("latency_ms")
    return _numbers(table, {name: (f"latency {name}", "ms") for name in LATENCIES}) if isinstance(table, dict) else []  # fmt: skip


def _numbers(value: dict[str, Any], names: dict[str, tuple[str, str]]) -> list[DeviceValue]:
    """Return the named numbers that are there: one that was not measured is no zero."""
    return [
        DeviceValue(name=title, unit=unit, value=strict_json.number(value[key], key))
        for key, (title, unit) in names.items()
        if value.get(key) is not None
    ]


def device_trends(records: Sequence[DeviceRecord]) -> list[DeviceTrend]:
    """Return a line for each number under the same conditions: never two devices, precisions or power modes in one."""
    lines: dict[tuple[str, ...], list[int]] = {}
    for place, record in enumerate(records):
        for value in record.values:
            lines.setdefault((value.name, value.unit, *_conditions(record).values()), []).append(place)
    return [
        DeviceTrend(name=key[0], unit=key[1], conditions=_words(records[places[0]]), places=places)
        for key, places in lines.items()
        if len(places) > 1
    ]


def _conditions(record: DeviceRecord) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in CONDITIONS}


def _words(record: DeviceRecord) -> str:
    parts = [f"`{record.kind}` on {record.device_id} ({record.board})", record.precision, record.backend]
    if record.kind == "bench":
        parts.append(f"batch {record.batch}")
    return ", ".join([*parts, f"power mode {record.power_mode}"])


def compare_devices(first: DeviceRecord, second: DeviceRecord) -> DeviceComparison:
    """Return the numbers of two records side by side, and what forbids to compare them."""
    ours, theirs = _conditions(first), _conditions(second)
    different = [
        f"{words} differ: {ours[name]} and {theirs[name]}"
        for name, words in CONDITIONS.items()
        if ours[name] != theirs[name]
    ]
    unknown = [words for name, words in CONDITIONS.items() if ours[name] == theirs[name] == "unknown" and _needed(first, name)]  # fmt: skip
    what = f"release {first.release} and release {second.release} of {second.product}"
    if first.product != second.product:
        different.append(f"the products differ: {first.product} and {second.product}")
    if different:
        sentence = f"The numbers are not comparable: {'; '.join(different)}."
    else:
        sentence = f"{what[0].upper()}{what[1:]} under the same recorded conditions."
    notes = [NO_TEST]
    if unknown:
        notes.append(f"Unknown on both sides, so perhaps different: {', '.join(unknown)}.")
    if first.model != second.model:
        notes.append("The models differ: a difference is one of the models as well.")
    return DeviceComparison(
        first=first, second=second, sentence=sentence, not_comparable=different, notes=notes
    )


def _needed(record: DeviceRecord, name: str) -> bool:
    """Return whether a record of this kind has the condition at all."""
    return {"batch": record.kind == "bench", "source": record.kind == "run", "backend": record.kind != "selftest"}.get(name, True)  # fmt: skip


def audited_words(records: Sequence[DeviceRecord], fingerprints: Sequence[str]) -> list[str]:
    """Return one note where devices run a model that none of the runs audited."""
    known = set(fingerprints)
    unknown = sorted({record.model for record in records} - known)
    if not records or not unknown:
        return []
    return [
        f"{counted(len(unknown), 'model')} on the devices {'was' if len(unknown) == 1 else 'were'} audited by no run of this folder: "
        f"{', '.join(name[:12] for name in unknown[:5])}."
    ]
