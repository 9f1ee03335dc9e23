"""A fuzzer of what a device reads: python -m tests.security.fuzz_bundles --seconds 600

Cases are mutated containers, envelopes and settings, and bundles whose manifest or statement was mutated and then signed again, so
that the readers behind the signature are reached too. Passing answers are: believed, or a refusal in one printable sentence. A defect
is anything else: another exception, a case that takes long or much memory, an envelope with two forms, or a believed bundle
that a plain second reading does not believe. Prints one JSON summary; the exit code is 1 where a defect was found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from safeml.edge import dsse
from safeml.edge.errors import Refused, Usage
from safeml.edge.settings import read_settings
from safeml.edge.verify import unpack_bundle, verify_folder
from tests.edge_bundles import (
    FACTS,
    KEY,
    NOW,
    PRODUCT,
    SECOND,
    Bundle,
    as_json,
    pack_freely,
    settings,
    signed,
    subject,
    write_settings,
)
from tests.security.mutations import BYTES, change_json

SECONDS = 2.0
MEMORY = 64 * 1024  # kibibytes beyond the start of the run
Make = Callable[[random.Random], bytes]
DEVICES = (settings(), settings(allow_override=True, backend="onnxruntime"))


def bundles() -> list[Bundle]:
    """The good bundle, one with an override, one with two signatures, one with a SavedModel, and one with the float model and its monitor."""
    two, folder = Bundle(), Bundle()
    two.keys = (KEY, SECOND)
    row = folder.manifest["models"]["int8"]
    folder.manifest["models"]["tftrt"] = {key: row[key] for key in ("fingerprint", "inputs", "outputs")}
    folder.manifest["models"]["tftrt"].update(folder="tftrt/", kind="saved_model", precision="tftrt", opset=0)
    folder.manifest["golden"]["tolerances"]["tftrt"] = {"max_abs": 0.1, "flips": 0}
    folder.files["tftrt/saved_model.pb"] = b"graph"
    return [Bundle(), Bundle().overridden(), two, folder, Bundle().with_float()]


CORPUS = bundles()
CONTENTS = [bundle.content() for bundle in CORPUS]


def mutated(content: bytes, choice: random.Random) -> bytes:
    for _ in range(choice.randint(1, 4)):
        content = choice.choice(BYTES)(content, choice.choice(CONTENTS), choice)
    return content


def container(choice: random.Random) -> bytes:
    """A container with changed bytes."""
    return mutated(choice.choice(CONTENTS), choice)


def envelope(choice: random.Random) -> bytes:
    """A container with a changed envelope: its bytes, or its JSON in the form that is read."""
    bundle = choice.choice(CORPUS)
    data = bundle.envelope_bytes()
    if choice.random() < 0.5:
        data = mutated(data, choice)
    else:
        value = change_json(json.loads(data), choice)
        data = json.dumps(value, sort_keys=choice.random() < 0.9, separators=(",", ":")).encode()
    return pack_freely(
        data[:65536], bundle.manifest_bytes(), [file for _, file in sorted(bundle.files.items())]
    )


def resigned(choice: random.Random) -> bytes:
    """A bundle whose manifest, statement or both were changed before they were signed."""
    bundle = choice.choice(CORPUS)
    manifest = json.loads(bundle.manifest_bytes())
    if choice.random() < 0.7:
        manifest = change_json(manifest, choice)
    data = as_json(manifest)
    if choice.random() < 0.2:
        data = mutated(data, choice)
    data = data[:65536] or b" "
    statement = json.loads(bundle.statement_bytes())
    statement["subject"][0] = subject("manifest.json", hashlib.sha256(data).hexdigest())
    if choice.random() < 0.3:
        statement = change_json(statement, choice)
    payload = as_json(statement)
    if choice.random() < 0.1:
        payload = mutated(payload, choice)
    return pack_freely(
        signed(payload[:40000], (KEY,)), data, [content for _, content in sorted(bundle.files.items())]
    )


MAKERS: tuple[Make, ...] = (container, envelope, resigned, resigned)


def answer(content: bytes, folder: Path, choice: random.Random) -> str:
    """How a device answers to a container: "believed", "refused", or the name of a defect."""
    path, slot = folder / "case", folder / "slot"
    path.write_bytes(content)
    device = choice.choice(DEVICES)
    try:
        verified = unpack_bundle(str(path), str(slot), device, FACTS, 4, NOW)
    except Refused as refusal:
        if slot.exists():
            return "left something"
        return _sentence(refusal.message)
    if verify_folder(str(slot), device, FACTS, NOW) != verified:
        return "another answer at the start"
    return "believed" if _second_opinion(content, slot, device.allow_override) else "believed wrongly"


def _sentence(message: str) -> str:
    return "refused" if message.isprintable() and 0 < len(message) < 1000 else "unprintable reason"


def _second_opinion(content: bytes, slot: Path, override: bool) -> bool:
    """A plain reading of a believed bundle with other software: json, cryptography and the files in the slot."""
    first = 16 + int.from_bytes(content[8:12], "big")
    last = first + int.from_bytes(content[12:16], "big")
    outer, manifest = json.loads(content[16:first]), json.loads(content[first:last])
    envelope = dsse.parse_envelope(content[16:first])
    KEY.public_key().verify(envelope.signatures[0].sig, dsse.pae(outer["payloadType"], envelope.payload))
    statement = json.loads(envelope.payload)
    predicate, names = statement["predicate"], [row["name"] for row in manifest["files"]]
    files = {
        file.relative_to(slot).as_posix(): file.read_bytes() for file in slot.rglob("*") if file.is_file()
    }
    del files["bundle.dsse.json"]
    return (
        files.pop("manifest.json") == content[first:last]
        and statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(content[first:last]).hexdigest()
        and sorted(files) == names == sorted(set(names))
        and all(hashlib.sha256(files[row["name"]]).hexdigest() == row["sha256"] for row in manifest["files"])
        and not any(set(PurePosixPath(name).parts) & {"..", "/"} for name in names)
        and b"".join(files[name] for name in names) == content[last:]
        and manifest["product"] == PRODUCT == predicate["safeml"]["product"]
        and manifest["release"] == predicate["safeml"]["release"] > 4
        and (predicate["result"] == "PASSED" or (override and predicate["safeml"]["override"] is not None))
    )


def answer_settings(folder: Path, choice: random.Random) -> str:
    """How the reader of the device settings answers to changed ones."""
    path = folder / "device.json"
    value = json.loads(path.read_text())
    changed = folder / "changed.json"
    if choice.random() < 0.5:
        changed.write_bytes(mutated(path.read_bytes(), choice))
    else:
        changed.write_bytes(as_json(change_json(value, choice)))
    changed.chmod(0o644)
    try:
        read_settings(str(changed))
    except (Refused, Usage) as failure:
        return _sentence(failure.message)
    return "believed"


def one(seed: int, number: int, scratch: Path) -> tuple[str, float]:
    """The answer to a case, which depends on its seed and number alone, and its processor seconds."""
    choice = random.Random(f"{seed}:{number}")
    content = choice.choice(MAKERS)(choice) if choice.random() < 0.9 else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        start = time.process_time()
        try:
            if content is None:
                kind = answer_settings(scratch, choice)
            else:
                kind = answer(content, Path(folder), choice)
        except BaseException as error:
            kind = f"{type(error).__name__}: {str(error)[:200]}"
        seconds = time.process_time() - start
    return ("slow" if seconds > SECONDS else kind), seconds


def fuzz(seconds: float, seed: int, first: int = 0, cases: float = math.inf) -> dict[str, Any]:
    """Cases `first`, first + 1, ... until the time is over or `cases` are done, and what came of them."""
    outcomes: Counter[str] = Counter()
    defects: list[dict[str, Any]] = []
    slowest, number, start = 0.0, first, time.monotonic()
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None  # thousands of small files
    with tempfile.TemporaryDirectory(prefix="safeml-fuzz-", dir=shared) as scratch:
        write_settings(Path(scratch), Path("/nowhere"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while time.monotonic() - start < seconds and number - first < cases:
            kind, spent = one(seed, number, Path(scratch))
            slowest = max(slowest, spent)
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEMORY:
                kind = "memory"
            outcomes[kind] += 1
            if kind not in ("believed", "refused") and len(defects) < 50:
                defects.append({"case": number, "kind": kind})
            number += 1
    return {
        "cases": number - first,
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_s": round(slowest, 3),
        "defects": defects,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the readers of a device.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--case", type=int, help="run this case alone")
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}\n")
    if options.case is None:
        summary = fuzz(options.seconds, options.seed)
    else:
        summary = fuzz(math.inf, options.seed, options.case, 1)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return int(bool(summary["defects"]))


if __name__ == "__main__":
    sys.exit(main())
