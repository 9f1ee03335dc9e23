"""Verification on an interpreter of a device. Prints one line of JSON, which must be equal everywhere. Run beside `safeml_edge`.

Arguments: the folder with device.json, good.safeml and cases.json ([[name, file]]); "libcrypto" to hide the package cryptography.
"""

import json
import os
import sys
from collections import namedtuple

if sys.argv[2:] == ["libcrypto"]:
    sys.modules["cryptography"] = None

from safeml_edge.edge import ed25519
from safeml_edge.edge.errors import Refused
from safeml_edge.edge.settings import read_settings
from safeml_edge.edge.verify import unpack_bundle, verify_bundle, verify_folder

Facts = namedtuple("Facts", "architecture compute_capability tensorrt jetpack memory_mb")
FACTS = Facts("aarch64", "8.7", "10.3.0", "6.2", 7620)
NOW = 1796000000
STEP = 23


def answer(call, *arguments):
    try:
        return call(*arguments).manifest.release
    except Refused as refusal:
        return refusal.reason


def tampered(content, path, settings):
    """The reasons for a change of every 23rd byte, in order."""
    reasons = []
    for position in range(0, len(content), STEP):
        changed = bytearray(content)
        changed[position] ^= 1
        with open(path, "wb") as stream:
            stream.write(changed)
        reasons.append(answer(verify_bundle, path, settings, FACTS, 4, NOW))
    return reasons


def main():
    folder = sys.argv[1]
    settings = read_settings(os.path.join(folder, "device.json"))
    good, slot = os.path.join(folder, "good.safeml"), os.path.join(folder, "slot")
    with open(os.path.join(folder, "cases.json")) as stream:
        cases = json.load(stream)
    with open(good, "rb") as stream:
        content = stream.read()
    result = {
        "verified": answer(verify_bundle, good, settings, FACTS, 4, NOW),
        "unpacked": answer(unpack_bundle, good, slot, settings, FACTS, 4, NOW),
        "started": answer(verify_folder, slot, settings, FACTS, NOW),
        "names": sorted(os.listdir(slot)),
        "cases": [
            [name, answer(verify_bundle, os.path.join(folder, file), settings, FACTS, 4, NOW)]
            for name, file in cases
        ],
        "tampered": tampered(content, os.path.join(folder, "tampered"), settings),
        "vector": ed25519.verify_signature(
            ed25519.KNOWN_PUBLIC, ed25519.KNOWN_MESSAGE, ed25519.KNOWN_SIGNATURE
        ),
    }
    with open(os.path.join(slot, "labels.json"), "ab") as stream:
        stream.write(b" ")
    result["changed slot"] = answer(verify_folder, slot, settings, FACTS, NOW)
    result["numpy"] = "numpy" in sys.modules
    result["hidden"] = sys.argv[2:] == ["libcrypto"] and ed25519.by_cryptography() is not None
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")


main()
