"""`safeml-edge run`: classify the frames of a folder, a video or a camera, each with the decision of the monitor."""

import argparse
from typing import Any

from ..slot import add_folder

# Options over `run` of the device settings.
OPTIONS = {
    "latency_ms": "a slower answer is FALL_BACK",
    "stale_ms": "an older frame of a camera is FALL_BACK",
    "hot": "degrees Celsius from which on the run pauses after each frame",
    "hang_s": "end the process where no frame is answered for this long; 0 for never (default: 30)",
    "block": "frames of a folder or a file that are answered together; 1 for one by one, with latencies (default: 128)",
    "least_trusted": "exit with code 1 where a smaller share of frames is TRUST",
}


def register(subparsers: Any) -> None:
    """Add the command."""
    command = subparsers.add_parser("run", help="classify frames, each with the decision of the monitor")
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of images, an .npz file, an image, a video, camera:0 or csi:0",
    )
    add_folder(command)
    command.add_argument(
        "--out", default="-", metavar="FILE", help="JSON lines (default: standard output); '' for none"
    )
    command.add_argument("--rotate-mb", type=int, default=64, help="size of a file of lines (default: 64)")
    command.add_argument("--frames", type=int, default=0, help="end after this many frames (default: all)")
    command.add_argument("--size", default="1280x720", help="of a camera (default: 1280x720)")
    command.add_argument(
        "--rate",
        type=float,
        default=30.0,
        help="frames a second of a camera or of stored frames (default: 30)",
    )
    for name, words in OPTIONS.items():
        command.add_argument(
            "--" + name.replace("_", "-"), type=float, default=None, metavar="NUMBER", help=words
        )
    command.add_argument("--window", action="store_true", help="show each frame with its decision (OpenCV)")
    command.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run until the source ends, --frames are answered, or a signal arrives."""
    from ..run import run_command

    return run_command(args)
