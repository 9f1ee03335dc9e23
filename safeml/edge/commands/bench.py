"""`safeml-edge bench`: latency, throughput, power and temperature of the model on this device."""

import argparse
from typing import Any

from ..errors import BELOW, FINE, Usage
from ..output import emit
from ..slot import add_folder, open_slot


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("bench", help="measure latency, throughput, power and temperature")
    add_folder(command)
    command.add_argument("--calls", type=int, default=500, help="timed calls (default: 500)")
    command.add_argument("--warm-up", type=int, default=50, help="calls before them (default: 50)")
    command.add_argument("--batch", type=int, default=1, help="images of one call (default: 1)")
    command.add_argument("--limit-ms", type=float, default=0.0, help="exit with code 1 where p99 is above it")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Measure, record and print."""
    from ..backends.opening import open_backend
    from ..bench import bench
    from ..facts import as_record
    from ..golden import load_golden
    from ..records import write_record

    if args.calls < 1 or args.warm_up < 0 or not 1 <= args.batch <= 256:
        raise Usage("expected --calls of at least 1, --warm-up of at least 0 and --batch of 1 to 256.")
    slot = open_slot(args)
    manifest = slot.verified.manifest
    golden = load_golden(slot.folder, manifest)
    backend = open_backend(slot.folder, manifest, slot.settings, slot.facts)
    try:
        measured = bench(backend, golden.values, args.calls, args.warm_up, args.batch)
    finally:
        backend.close()
    record = dict(
        slot.identity(),
        backend=backend.name,
        precision=backend.precision,
        details=backend.details,
        facts=as_record(slot.facts),
        **measured,
    )
    record["written"] = write_record(slot.settings.root, "bench", record)
    table = measured["latency_ms"]
    words = "{} ({}), batch {}: p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, max {max} ms, {} images/s".format(
        backend.name, backend.precision, args.batch, measured["images_per_second"], **table
    )
    emit(args, record, [words, _state(slot.facts, measured)])
    return BELOW if args.limit_ms and table["p99"] > args.limit_ms else FINE


def _state(facts: Any, measured: Any) -> str:
    power, heat = measured["power_w"], measured["temperature_c"]
    return "power mode {}, clocks {}, {}, {}{}".format(
        facts.power_mode or "unknown",
        {True: "locked", False: "not locked", None: "unknown"}[facts.clocks_locked],
        "{} W".format(power["mean"]) if power else "power unknown",
        "at most {} degrees Celsius".format(heat["max"]) if heat else "temperature unknown",
        ", throttled" if measured["throttled"] else "",
    )
