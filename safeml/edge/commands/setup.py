"""`safeml-edge setup`: write the settings of this device, without a question."""

import argparse
from typing import Any, List

from ..errors import FINE
from ..output import emit
from ..settings import BACKENDS, DeviceSettings
from ..setup import ROOT, Wanted, write_settings

# Options for a number or a text of the tables `update` and `run`.
UPDATE = {
    "source": (str, "WHERE", "of updates: an https address, an absolute folder or usb"),
    "percent": (float, "NUMBER", "of devices that take a new release (default: 100)"),
}
RUN = {"latency_ms": (float, "NUMBER", "a slower answer is FALL_BACK")}


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "setup", help="write the settings of this device (device.json) and its trust keys"
    )
    command.add_argument("--product", required=True, help="bundles of another product are refused")
    command.add_argument(
        "--key",
        required=True,
        action="append",
        metavar="FILE",
        help="a public key that may sign bundles; it is copied beside the settings; may be repeated",
    )
    command.add_argument(
        "--device-id", default="", metavar="NAME", help="(default: the name of this machine)"
    )
    command.add_argument(
        "--root", default=ROOT, metavar="DIR", help=f"folder of slots, state and records (default: {ROOT})"
    )
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="(default: auto)")
    for name, (kind, shown, words) in dict(UPDATE, **RUN).items():
        command.add_argument(
            "--" + name.replace("_", "-"), type=kind, default=None, metavar=shown, help=words
        )
    command.add_argument("--force", action="store_true", help="replace settings and keys that are there")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write the settings and say what they are."""
    wanted = Wanted(
        args.product,
        tuple(args.key),
        args.device_id,
        args.root,
        args.backend,
        {name: getattr(args, name) for name in UPDATE},
        {name: getattr(args, name) for name in RUN},
    )
    settings = write_settings(wanted, args.settings, args.force)
    emit(args, record(settings), lines(settings))
    return FINE


def record(settings: DeviceSettings) -> dict:
    """Return the settings and the backends of this device as plain data."""
    return {
        "written": settings.path,
        "product": settings.product,
        "device_id": settings.device_id,
        "root": settings.root,
        "backend": settings.backend,
        "installed": runtimes(),
        "keys": [{"keyid": key.keyid, "role": key.role, "file": key.file} for key in settings.keys],
    }


def runtimes() -> List[str]:
    """Return the packages of backends that are installed."""
    from ..backends.opening import installed

    return [name for name in ("tensorrt", "onnxruntime", "tensorflow") if installed(name)]


def lines(settings: DeviceSettings) -> List[str]:
    """Return what a user reads."""
    present = ", ".join(runtimes()) or "none; install the TensorRT of the JetPack, or onnxruntime"
    return [
        f"Written: {settings.path}",
        f"Device {settings.device_id}, product {settings.product}, root {settings.root}.",
        f"Backend {settings.backend}; installed: {present}.",
        *(f"Trusts {key.keyid} ({key.role})." for key in settings.keys),
        "Compare each key id with the one that the signer names, over another channel. Next: safeml-edge preflight.",
    ]
