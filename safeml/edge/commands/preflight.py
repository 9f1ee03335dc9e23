"""`safeml-edge preflight`: what this device is, and whether it can run a release."""

import argparse
import time
from typing import Any

from ..errors import FAILED, FINE, Refused
from ..facts import as_record, read_facts
from ..output import emit
from ..settings import read_settings
from ..slot import add_folder
from ..slots import Slots
from ..verify import verify_folder


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "preflight", help="check JetPack, TensorRT, GPU, memory, clocks and power mode"
    )
    add_folder(command)
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print and record the findings; exit code 4 where one of them failed."""
    from ..preflight import Finding, as_records, preflight
    from ..records import write_record

    settings, facts = read_settings(args.settings), read_facts()
    findings = []
    manifest = None
    folder = args.folder or Slots(settings.root).active()
    if folder:
        try:
            manifest = verify_folder(folder, settings, facts, time.time()).manifest
        except Refused as refusal:
            findings.append(Finding("release", "failed", f"[{refusal.reason}] {refusal.message}"))
    findings += preflight(facts, settings, manifest, time.time())
    record = {
        "facts": as_record(facts),
        "device_id": settings.device_id,
        "findings": as_records(findings),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    record["written"] = write_record(settings.root, "preflight", record)
    emit(args, record, ["{:8} {:18} {}".format(*_columns(finding)) for finding in findings])
    return FAILED if any(finding.status == "failed" for finding in findings) else FINE


def _columns(finding: Any) -> Any:
    return finding.status.replace("_", " "), finding.name, finding.sentence
