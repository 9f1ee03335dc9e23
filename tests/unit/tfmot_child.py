"""A stand-in for the child process of TFMOT, which imports no framework: it does what the file `act` of its folder says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    act = (Path(sys.argv[1]) / "act").read_text()
    say(epoch={"epoch": 1, "pid": os.getpid(), "legacy": os.environ["TF_USE_LEGACY_KERAS"]})
    if act == "answer":
        say(done={"float_difference": 0.0})
    elif act == "refuse":
        say(refused="m.keras: holds a layer without a form in Keras 2.")
    elif act == "fail":
        say(failed="tiny: the loss is not finite.")
    elif act == "raise":
        raise ImportError("no module named tf_keras")
    elif act in ("be killed", "be killed in a line"):
        sys.stdout.write('{"done": {"float_' if act.endswith("line") else "")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif act == "answer and exit 3":
        say(done={})
        sys.exit(3)
    elif act == "wait":
        time.sleep(600)


if __name__ == "__main__":
    main()
