"""The child's side of `build`: read one order from the standard input, build one engine, write it and a reply."""

import json
import os
import sys
from typing import Any, Dict

from ..errors import EdgeError
from .plan import Plan
from .trt_common import build_engine, import_tensorrt


def main() -> int:
    """Carry out the order and return the exit code."""
    order = json.loads(sys.stdin.read())
    _be_first_to_go()
    _limit(int(order["address_space"]))
    lines: list = []
    try:
        reply = build(order, lines)
    except EdgeError as error:
        reply = {"error": error.message}
    except MemoryError:
        reply = {
            "error": "the builder ran out of memory; lower --workspace-mb, close other programs or add swap."
        }
    for line in lines:
        sys.stderr.write(line + "\n")
    with open(order["reply"], "w") as file:
        json.dump(reply, file)
    return 4 if "error" in reply else 0


def build(order: Dict[str, Any], lines: Any) -> Dict[str, Any]:
    """Build the engine of an order, write it, and return what is recorded of it."""
    trt = import_tensorrt()
    fields = order["plan"]
    plan = Plan(
        fields["model"], fields["adapter"], tuple(fields["flags"]), fields["note"], bool(fields["inspector"])
    )
    data, record = build_engine(trt, plan, order["onnx"], order["batches"], int(order["workspace"]), lines)
    with open(order["engine"], "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    record.update(tensorrt=str(trt.__version__), warnings=list(lines[:20]))
    return record


def _be_first_to_go() -> None:
    """Ask the kernel to end this process first where memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def _limit(size: int) -> None:
    if size:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
