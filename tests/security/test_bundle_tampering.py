"""Tampering: no byte of a bundle can change, appear or vanish without a refusal, and a refusal leaves nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from safeml.edge.container import HEAD
from safeml.edge.errors import Refused
from safeml.edge.verify import unpack_bundle, verify_bundle
from tests.edge_bundles import FACTS, NOW, Bundle, settings

pytestmark = pytest.mark.slow

SETTINGS = settings()


class Target:
    """A file in memory whose content a test replaces; a bundle is read from it as from any other."""

    def __init__(self) -> None:
        self.handle = os.memfd_create("bundle")
        self.path = f"/proc/self/fd/{self.handle}"

    def answer(self, content: bytes) -> str:
        """The reason code of the refusal; "" where the content is believed."""
        os.ftruncate(self.handle, len(content))
        os.pwrite(self.handle, content, 0)
        try:
            verify_bundle(self.path, SETTINGS, FACTS, 4, NOW)
        except Refused as refusal:
            return refusal.reason
        return ""


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    os.close(made.handle)


CONTENT = Bundle().content()
ENVELOPE, MANIFEST = (int.from_bytes(CONTENT[at : at + 4], "big") for at in (8, 12))
PARTS = {
    "magic": (0, 8),
    "lengths": (8, HEAD.size),
    "envelope": (HEAD.size, HEAD.size + ENVELOPE),
    "manifest": (HEAD.size + ENVELOPE, HEAD.size + ENVELOPE + MANIFEST),
    "files": (HEAD.size + ENVELOPE + MANIFEST, len(CONTENT)),
}
# Reasons that a change of one byte in a part may have.
EXPECTED = {
    "magic": {"not-a-bundle"},
    "lengths": {"envelope-length", "manifest-length", "truncated", "envelope-invalid", "manifest-mismatch"},
    "envelope": {"envelope-invalid", "bad-signature", "unknown-key", "unsigned"},
    "manifest": {"manifest-mismatch"},
    "files": {"hash-mismatch"},
}


def changed(position: int, mask: int) -> bytes:
    content = bytearray(CONTENT)
    content[position] ^= mask
    return bytes(content)


def test_the_bundle_itself_is_believed(target: Target) -> None:
    assert target.answer(CONTENT) == ""
    assert 3_000 < len(CONTENT) < 8_000
    assert PARTS["files"][1] == len(CONTENT)


@pytest.mark.parametrize("part", PARTS)
def test_every_byte_matters(part: str, target: Target) -> None:
    """Each byte with its lowest bit flipped, and with another bit that depends on its place."""
    answers: Counter[str] = Counter()
    for position in range(*PARTS[part]):
        for mask in (1, 2 << position % 7):
            answers[target.answer(changed(position, mask))] += 1
    assert set(answers) <= EXPECTED[part], answers
    assert sum(answers.values()) == 2 * (PARTS[part][1] - PARTS[part][0])


@pytest.mark.nightly
def test_every_other_value_of_every_byte_is_refused(target: Target) -> None:
    for part, (start, end) in PARTS.items():
        for position in range(start, end):
            for mask in range(1, 256):
                assert target.answer(changed(position, mask)) in EXPECTED[part], (position, mask)


def cut_and_grown() -> Iterator[bytes]:
    for position in range(len(CONTENT)):
        yield CONTENT[:position]
        yield CONTENT[:position] + CONTENT[position + 1 :]
        yield CONTENT[:position] + b"0" + CONTENT[position:]


def test_no_byte_can_be_cut_dropped_or_added(target: Target) -> None:
    for content in cut_and_grown():
        assert target.answer(content) != ""


def test_two_bundles_of_one_signer_do_not_mix(target: Target) -> None:
    """Any two parts of one release with the third of the next are refused, though each part is the signer's."""
    first, second = Bundle(release=5), Bundle(release=6)
    parts = [
        (
            one.envelope_bytes(),
            one.manifest_bytes(),
            b"".join(content for _, content in sorted(one.files.items())),
        )
        for one in (first, second)
    ]
    assert parts[0][2] == parts[1][2]
    for envelope, manifest in ((0, 1), (1, 0)):
        head = HEAD.pack(b"SAFEML\x00\x01", len(parts[envelope][0]), len(parts[manifest][1]))
        assert (
            target.answer(head + parts[envelope][0] + parts[manifest][1] + parts[0][2]) == "manifest-mismatch"
        )
    other = Bundle(files={**first.files, "labels.json": first.files["labels.json"].upper()})
    assert (
        target.answer(CONTENT.replace(first.files["labels.json"], other.files["labels.json"]))
        == "hash-mismatch"
    )


def test_a_tampered_bundle_leaves_nothing_of_its_slot(target: Target, tmp_path: Path) -> None:
    """One byte of each part, and of each file: what was written before the refusal is gone."""
    starts = [start for start, _ in PARTS.values()]
    content = b""
    for _, file in sorted(Bundle().files.items()):
        starts.append(PARTS["files"][0] + len(content))
        content += file
    for position in [*starts, len(CONTENT) - 1]:
        assert target.answer(changed(position, 1)) != ""
        with pytest.raises(Refused):
            unpack_bundle(target.path, str(tmp_path / "slot"), SETTINGS, FACTS, 4, NOW)
        assert os.listdir(tmp_path) == []
