"""The container: one file, read from front to back.

    8 bytes     b"SAFEML\\x00\\x01", the format
    4 bytes     length of the envelope, big endian, at most 64 KiB
    4 bytes     length of the manifest, big endian, at most 64 KiB
    envelope    DSSE
    manifest    JSON
    files       one after the other, in the order of the manifest

There is no byte more. Only the three numbers and the envelope are interpreted before a signature has been verified.
"""

import hashlib
import os
import stat
import struct
from typing import Any, BinaryIO, Callable, Iterable, Iterator, NamedTuple, Tuple, Union

from . import limits
from .errors import EdgeError, Refused, Usage
from .manifest import File, Manifest, check_files, parse_manifest
from .strict_json import quoted

MAGIC = b"SAFEML\x00\x01"
HEAD = struct.Struct(">8sII")

Content = Union[bytes, str, "os.PathLike[str]"]


class Container(NamedTuple):
    """An open container whose envelope and manifest have been read.

    stream: at the first byte of the first file.
    name: the path, for messages.
    envelope, manifest: bytes, not yet believed.
    rest: bytes of the file that follow.
    """

    stream: BinaryIO
    name: str
    envelope: bytes
    manifest: bytes
    rest: int


def pack(envelope: bytes, manifest: bytes, files: Iterable[Tuple[str, Content]], out: BinaryIO) -> None:
    """Write a container to the binary stream `out`.

    files: name with its bytes or its path, in the order of the manifest; each is compared with the manifest while it is written.
    Raises Refused for what a device would refuse for its form.
    """
    listed = parse_manifest(manifest)
    check_files(listed)
    _check_length("envelope", len(envelope), limits.ENVELOPE_BYTES, "the envelope")
    out.write(HEAD.pack(MAGIC, len(envelope), len(manifest)))
    out.write(envelope)
    out.write(manifest)
    waiting = list(listed.files)
    for name, content in files:
        if not waiting or waiting[0].name != name:
            raise Refused("extra-file", f"{quoted(name)} is not the next file of the manifest.")
        one = waiting.pop(0)
        if isinstance(content, bytes):
            copy(one, _slices(content), out.write)
        else:
            with open(content, "rb") as stream:
                if os.fstat(stream.fileno()).st_size != one.bytes:
                    raise Refused("wrong-length", f"{quoted(name)} has not the length of the manifest.")
                copy(one, chunks(stream, one.bytes), out.write)
    if waiting:
        raise Refused("missing-file", f"{quoted(waiting[0].name)} is in the manifest and was not given.")


def open_container(path: str) -> Container:
    """Open a container and read its envelope and its manifest, whose lengths are checked first; the caller closes the stream."""
    stream, size = open_regular(path)
    try:
        head = stream.read(HEAD.size)
        if not head.startswith(MAGIC) or len(head) < HEAD.size:
            raise Refused(
                "not-a-bundle",
                f"{path} does not begin as a bundle does; expected a .safeml file of format 1.",
            )
        _, envelope, manifest = HEAD.unpack(head)
        _check_length("envelope", envelope, limits.ENVELOPE_BYTES, path)
        _check_length("manifest", manifest, limits.MANIFEST_BYTES, path)
        rest = size - HEAD.size - envelope - manifest
        if rest < 0:
            raise _truncated(path)
        parts = [stream.read(length) for length in (envelope, manifest)]
        if [len(part) for part in parts] != [envelope, manifest]:
            raise _truncated(path)
    except BaseException:
        stream.close()
        raise
    return Container(stream, path, parts[0], parts[1], rest)


def open_regular(path: str) -> Tuple[BinaryIO, int]:
    """Open a regular file and return it with its length; a pipe or a device has none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Usage(f"{path}: there is no such file.") from None
    except OSError as error:
        raise EdgeError(f"{path}: it cannot be opened ({error.strerror}).") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        raise Refused("not-a-file", f"{path} is no regular file; copy the bundle to one.")
    return os.fdopen(handle, "rb"), facts.st_size


def check_lengths(container: Container, manifest: Manifest) -> None:
    """Refuse a container whose files do not add up to its length."""
    total = sum(one.bytes for one in manifest.files)
    if container.rest < total:
        raise _truncated(container.name)
    if container.rest > total:
        raise Refused(
            "extra-bytes",
            f"{container.name} has {container.rest - total} bytes after its last file; expected none.",
        )


def read_files(
    container: Container, manifest: Manifest, sink: Callable[[File, Iterator[bytes]], Any]
) -> None:
    """Give each file to `sink` with its chunks, which the sink passes through `copy`; then expect the end of the container."""
    for one in manifest.files:
        sink(one, chunks(container.stream, one.bytes))
    if container.stream.read(1):
        raise Refused("extra-bytes", f"{container.name} has bytes after its last file; expected none.")


def copy(one: File, parts: Iterable[bytes], write: Callable[[bytes], Any]) -> None:
    """Write the parts of a file and refuse them, after the last, unless they have its length and its sha256."""
    digest, length = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        length += len(part)
        write(part)
    if length != one.bytes:
        raise Refused("truncated", f"{quoted(one.name)} ends after {length} bytes; expected {one.bytes}.")
    if digest.hexdigest() != one.sha256:
        raise Refused(
            "hash-mismatch", f"{quoted(one.name)} is not the file that was signed; fetch the bundle again."
        )


def chunks(stream: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield the next `length` bytes of a stream, or fewer where it ends."""
    while length:
        part = stream.read(min(length, limits.CHUNK))
        if not part:
            return
        length -= len(part)
        yield part


def _slices(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), limits.CHUNK):
        yield content[start : start + limits.CHUNK]


def _check_length(part: str, length: int, most: int, where: str) -> None:
    if not 0 < length <= most:
        raise Refused(f"{part}-length", f"{where}: the {part} has {length} bytes; expected 1 to {most}.")


def _truncated(path: str) -> Refused:
    return Refused("truncated", f"{path} ends before its content does; fetch the bundle again.")
