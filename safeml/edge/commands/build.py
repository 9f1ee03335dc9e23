"""`safeml-edge build`: build the engine of a release on this device, or say that the stored one is authentic."""

import argparse
from typing import Any

from ..errors import FINE
from ..output import emit
from ..slot import add_folder, open_slot


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("build", help="build the engine of a release on this device")
    add_folder(command)
    command.add_argument("--fresh", action="store_true", help="build it even where one is stored")
    command.add_argument(
        "--workspace-mb", type=int, default=512, help="scratch memory of a layer (default: 512)"
    )
    command.add_argument("--memory-mb", type=int, default=3072, help="end the build above it (default: 3072)")
    command.add_argument("--seconds", type=int, default=1800, help="end the build after it (default: 1800)")
    command.add_argument(
        "--address-space-mb",
        type=int,
        default=0,
        help="limit of the address space, for a host (default: none)",
    )
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Open the backend, which builds what is missing, and record what it says of its engine."""
    from ..backends.opening import open_backend
    from ..build import Limits
    from ..facts import as_record
    from ..records import write_record

    slot = open_slot(args)
    limits = Limits(
        workspace_mb=args.workspace_mb,
        memory_mb=args.memory_mb,
        seconds=args.seconds,
        address_space_mb=args.address_space_mb,
    )
    backend = open_backend(
        slot.folder, slot.verified.manifest, slot.settings, slot.facts, limits=limits, fresh=args.fresh
    )
    try:
        record = dict(
            slot.identity(),
            backend=backend.name,
            precision=backend.precision,
            details=backend.details,
            facts=as_record(slot.facts),
        )
    finally:
        backend.close()
    record["written"] = write_record(slot.settings.root, "build", record)
    emit(args, record, [_sentence(record)])
    return FINE


def _sentence(record: Any) -> str:
    details = record["details"]
    if record["backend"] == "onnxruntime":
        return "ONNX Runtime {} needs no engine.".format(details.get("onnxruntime"))
    if details.get("engine") == "cached":
        return "The stored engine is authentic; nothing was built."
    return "Built with {} in {} s: {} model, {} ({}).".format(
        record["backend"],
        details.get("seconds", "unknown"),
        record["precision"],
        details.get("layers") or "layers unknown",
        details.get("rebuilt_because"),
    )
