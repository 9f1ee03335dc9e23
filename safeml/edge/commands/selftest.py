"""`safeml-edge selftest`: does this device compute the model that was audited?"""

import argparse
from typing import Any

from ..errors import BELOW, FINE
from ..output import emit
from ..slot import add_folder, open_slot


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "selftest", help="compare preprocessing, outputs and monitor with the golden data"
    )
    add_folder(command)
    command.add_argument("--latency-ms", type=float, default=0.0, help="budget for p99 of one image")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Test, record and print; exit code 1 where a check failed."""
    from ..facts import as_record
    from ..records import write_record
    from ..selftest import selftest

    slot = open_slot(args)
    result = selftest(slot.folder, slot.verified, slot.settings, slot.facts, args.latency_ms)
    record = dict(
        slot.identity(),
        passed=result.passed,
        precision=result.precision,
        details=result.details,
        checks=[dict(check._asdict()) for check in result.checks],
        facts=as_record(slot.facts),
    )
    record["written"] = write_record(slot.settings.root, "selftest", record)
    lines = [
        "{:8} {:26} {}".format(check.status.replace("_", " "), check.name, check.sentence)
        for check in result.checks
    ]
    lines.append("The self-test {}.".format("passed" if result.passed else "failed"))
    emit(args, record, lines)
    return FINE if result.passed else BELOW
