"""A fuzzer of the model scan: python -m tests.security.fuzz --seconds 600

The body of the scan, `scan_copy`, runs on mutated files, each in a forked child with the memory limit of the real one and a
clock. Answers that pass are: accepted, refused, inconclusive, and "HDF5 did not return", which the time limit of the real scan
makes inconclusive. A defect is anything else: another exception, a signal, a child that is out of memory, code of ours that is
out of time, a reason that cannot be printed, or an accepted archive that names a class that runs code.
Prints one JSON summary; the exit code is 1 where a defect was found. Without --seed each run draws a new one and prints it to
standard error only: a recorded seed would be a recipe for a file that HDF5 does not return from. `--case N` runs and keeps one
case of a seed again.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.limits import LIMITS
from safeml.scan.base import Inconclusive, Refused
from safeml.scan.scan import scan_copy
from tests.security.hostile import CASES, clean, disguises
from tests.security.mutations import mutate

SECONDS = LIMITS.scan_seconds
LARGEST_SEED = 1 << 20
UNENDING = "HDF5 did not return"
RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"})


@dataclass(frozen=True)
class Answer:
    """How one child ended. kind: an answer of the scan, or the name of a defect. memory: peak of resident bytes beyond those at its start."""

    kind: str
    reason: str
    seconds: float
    memory: int

    @property
    def defect(self) -> bool:
        return self.kind not in ("accepted", "refused", "inconclusive", UNENDING)


def corpus(folder: Path) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """(clean files, hostile files), each with its name."""
    clean.keras_file(folder / "a.keras")
    clean.keras_file(folder / "b.keras", clean.functional_config())
    clean.keras3_h5(folder / "a.h5")
    clean.keras2_h5(folder / "b.h5")
    (folder / "a.onnx").write_bytes(disguises.onnx_model())
    good = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
    good.append(
        (
            "saved_model.pb",
            disguises.field(1, 1) + disguises.field(2, disguises.field(2, b"") + disguises.field(7, b"")),
        )
    )
    bad = []
    for case in CASES:
        if case.row in (9, 10):
            continue
        place = folder / case.name
        place.mkdir()
        path = case.build(place)
        if path.is_dir():
            path /= "saved_model.pb"
        if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST_SEED:
            bad.append((path.name, path.read_bytes()))
    return good, bad


def make(
    seed: int, number: int, good: list[tuple[str, bytes]], bad: list[tuple[str, bytes]]
) -> tuple[str, bytes]:
    """Case `number` of `seed`: a name and the bytes of the file. It depends on nothing else."""
    choice = random.Random(f"{seed}:{number}")
    name, content = choice.choice(good if choice.random() < 0.7 else bad)
    return name, mutate(content, choice.choice(choice.choice((good, bad)))[1], choice)


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write the case as the private copy that the scan gets: `model` with its ending, or a folder."""
    if name == "saved_model.pb":
        (folder / "model" / "variables").mkdir(parents=True)
        (folder / "model" / name).write_bytes(content)
        (folder / "model" / "variables" / "variables.index").write_bytes(bytes(40) + disguises.INDEX_ENDS)
        (folder / "model" / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")
        return folder / "model"
    suffix = Path(name).suffix
    path = folder / f"model{suffix if suffix in ('.keras', '.h5', '.onnx') else '.keras'}"
    path.write_bytes(content)
    return path


def run(path: Path) -> Answer:
    """The answer of the scan of `path`, in a child of its own."""
    reader, writer = os.pipe()
    trace = path.parent / "trace"
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(path, writer, trace)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        raw = stream.read()
    status = os.waitpid(child, 0)[1]
    seconds = time.monotonic() - start
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        kind = _of_time(trace) if number == signal.SIGALRM else "signal"
        return Answer(kind, signal.Signals(number).name, seconds, 0)
    if not raw:
        return Answer("no answer", f"exit status {os.WEXITSTATUS(status)}", seconds, 0)
    kind, reason, memory = json.loads(raw)
    return Answer(kind, reason, seconds, memory)


def _of_time(trace: Path) -> str:
    """Whose time it was: the first frame of the trace is the innermost."""
    frames = [line for line in trace.read_text().splitlines() if line.lstrip().startswith("File")]
    return UNENDING if frames and "/h5py/" in frames[0] else "timeout"


def _child(path: Path, writer: int, trace: Path) -> None:
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            space = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (space + LIMITS.scan_memory, resource.RLIM_INFINITY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        with trace.open("w") as stack:
            faulthandler.register(signal.SIGALRM, file=os.dup(stack.fileno()), all_threads=False, chain=True)
        signal.alarm(SECONDS)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from here
        before = _kibibytes("VmHWM")
        kind, reason = _answer(path)
        os.write(writer, json.dumps((kind, reason, (_kibibytes("VmHWM") - before) * 1024)).encode())
    finally:
        os._exit(0)


def _answer(path: Path) -> tuple[str, str]:
    try:
        scan_copy(str(path), "")
    except (Refused, Inconclusive) as error:
        reason = str(error)
        if not reason.isprintable() or not 0 < len(reason) < 1_000:
            return "unprintable reason", ascii(reason)[:300]
        return ("refused" if isinstance(error, Refused) else "inconclusive"), reason[:300]
    except MemoryError:
        return "out of memory", ""
    except BaseException as error:
        return "exception", f"{type(error).__name__}: {str(error)[:200]}"
    return _check_accepted(path)


def _check_accepted(path: Path) -> tuple[str, str]:
    """A second opinion on an accepted archive, by a plain reading of its configuration."""
    if path.suffix != ".keras":
        return "accepted", ""
    with zipfile.ZipFile(path) as archive:
        waiting: list[Any] = [json.loads(archive.read("config.json"))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = value.get("class_name")
            if isinstance(name, str) and name in RUNS_CODE:
                return "accepted code", name
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return "accepted", ""


def _kibibytes(key: str) -> int:
    """A figure of this process: VmHWM is the peak of its resident memory."""
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith(key))


def fuzz(seconds: float, seed: int, first: int = 0, cases: float = math.inf) -> dict[str, Any]:
    """Cases `first`, first + 1, ... until the time is over or `cases` are done, and what came of them."""
    outcomes: Counter[str] = Counter()
    defects: list[dict[str, Any]] = []
    slowest = largest = 0.0
    number, start = first, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="safeml-fuzz-") as scratch:
        good, bad = corpus(Path(scratch))
        while time.monotonic() - start < seconds and number - first < cases:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                name, content = make(seed, number, good, bad)
                answer = run(put(Path(folder), name, content))
            outcomes[answer.kind] += 1
            slowest, largest = max(slowest, answer.seconds), max(largest, answer.memory)
            if answer.defect and len(defects) < 50:
                defects.append({"case": number, "file": name, "kind": answer.kind, "reason": answer.reason})
            number += 1
    return {
        "cases": number - first,
        "seeds": len(good) + len(bad),
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_s": round(slowest, 2),
        "largest_mib": round(largest / 1024**2, 1),
        "defects": defects,
    }


def again(seed: int, number: int, keep: Path) -> Answer:
    """Run case `number` of `seed` again, and keep its file in the folder `keep`."""
    with tempfile.TemporaryDirectory() as scratch:
        name, content = make(seed, number, *corpus(Path(scratch)))
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    return run(put(keep, name, content))


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the model scan.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--case", type=int, help="run this case again and keep its file")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-case"), help="the new folder for that file")
    options = parser.parse_args()
    if options.case is not None:
        answer = again(options.seed, options.case, options.keep)
        sys.stdout.write(f"{answer}\nkept in {options.keep}\n")
        return int(answer.defect)
    sys.stderr.write(f"seed {options.seed}\n")
    summary = fuzz(options.seconds, options.seed)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return int(bool(summary["defects"]))


if __name__ == "__main__":
    sys.exit(main())
