"""The official GTSRB archives, downloaded once, checked and unpacked. The only module of safeml.data with network access.

The page of the benchmark links to these archives on the ERDA server. Its publishers state no checksums. The MD5 sums
below are those of other public projects: torchvision's datasets/gtsrb.py for the two test archives, several unrelated
loaders on GitHub, which agree, for the training archive. MD5 detects damage; to detect a forged archive, supply a SHA-256.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safeml.errors import ConfigError, InputRefused, StageError
from safeml.limits import LIMITS, Limits

BASE_URL = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
ARCHIVES: dict[str, tuple[str, ...]] = {
    "train": ("GTSRB_Final_Training_Images.zip",),
    "test": ("GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
}
CHECKSUMS: dict[str, str] = {
    "GTSRB_Final_Training_Images.zip": "md5:f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "md5:c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}
SOURCE_NOTE = "source.txt"
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")


def fetch_gtsrb(
    root: str | Path,
    parts: Sequence[str] = ("train", "test"),
    base_url: str | None = None,
    checksums: Mapping[str, str] | None = None,
    progress: bool = True,
) -> Path:
    """Download and unpack parts of GTSRB into the folders `root`/train and `root`/test; give `root` to `gtsrb.load`.

    The folder of a part is complete or absent: it is created under another name and renamed as the last step, so neither
    an error nor Ctrl-C leaves half a data set. An existing part is not downloaded again.

    Args:
        root: folder for the data; created if absent.
        parts: "train" (some 260 MiB), "test" (some 85 MiB), or both.
        base_url: folder of the archives, for a mirror; http or https.
        checksums: archive name -> "sha256:..." or "md5:...", in place of the known ones.
        progress: show a progress bar on stderr.

    Returns:
        `root`.

    Raises:
        ConfigError: unknown part, archive name or checksum format, or an existing part from other archives.
        StageError: the download failed.
        InputRefused: an archive does not match its checksum, or its content is unsafe, too large or damaged.
    """
    root = Path(root)
    sums = _checked(parts, checksums or {})
    url = (base_url or BASE_URL).rstrip("/") + "/"
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"the address {url} is not http or https; expected the folder of the archives.")
    root.mkdir(parents=True, exist_ok=True)
    for part in parts:
        note = "".join(f"{sums[archive]}  {archive}\n" for archive in ARCHIVES[part])
        if not _is_there(root / part, note):
            _fetch_part(root / part, url, sums, note, progress)
    return root


def _checked(parts: Sequence[str], checksums: Mapping[str, str]) -> dict[str, str]:
    for part in parts:
        if part not in ARCHIVES:
            raise ConfigError(f'GTSRB has no part "{part}"; expected {" or ".join(ARCHIVES)}.')
    for archive, checksum in checksums.items():
        if archive not in CHECKSUMS:
            raise ConfigError(
                f"{archive} is not an archive of GTSRB; expected one of {', '.join(CHECKSUMS)}."
            )
        if not _CHECKSUM.fullmatch(checksum):
            raise ConfigError(
                f"the checksum of {archive} is malformed; expected sha256: or md5: and lower-case hex digits."
            )
    return {**CHECKSUMS, **checksums}


def _is_there(folder: Path, note: str) -> bool:
    if not folder.exists():
        return False
    source = folder / SOURCE_NOTE
    if not source.is_file() or source.read_text("utf-8") != note:
        raise ConfigError(
            f"{folder}: was not unpacked from the requested archives; remove the folder or use another."
        )
    return True


def _fetch_part(folder: Path, url: str, sums: Mapping[str, str], note: str, progress: bool) -> None:
    # In the same parent, so that the last rename stays on one file system and is atomic.
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as scratch:
        content = Path(scratch, "content")
        content.mkdir()
        for archive in ARCHIVES[folder.name]:
            unzip(_download(url + archive, archive, sums[archive], Path(scratch), progress), content)
        (content / SOURCE_NOTE).write_text(note, "utf-8")
        os.replace(content, folder)


def _download(url: str, archive: str, checksum: str, scratch: Path, progress: bool) -> Path:
    import pooch
    import requests

    def bounded(url: str, target: Any, _: Any) -> None:
        with open(target, "wb") as file:
            sink = _Bounded(file, archive, LIMITS.download_bytes)
            pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16)(url, sink, None)

    try:
        return Path(pooch.retrieve(url, checksum, fname=archive, path=scratch, downloader=bounded))
    except requests.exceptions.RequestException as error:
        raise StageError(_failed(url, error)) from error
    except ValueError as error:
        raise InputRefused(
            f"{url}: does not have the expected checksum {checksum}; the download was deleted."
        ) from error


def _failed(url: str, error: Any) -> str:
    """Return the sentence of a failed download: the server refused it, or was not reached."""
    status = getattr(error.response, "status_code", None)
    if status:
        return (
            f"{url}: the server answered with HTTP status {status}; name a mirror of the archives with --base-url, or unpack "
            "the archives yourself."
        )
    return (
        f"{url}: the server was not reached ({type(error).__name__}); check the network, or name a mirror of the archives "
        "with --base-url."
    )


@dataclass
class _Bounded:
    """A file with a size limit."""

    file: IO[bytes]
    name: str
    left: int

    def write(self, chunk: bytes) -> int:
        self.left -= len(chunk)
        if self.left < 0:
            raise InputRefused(
                f"{self.name}: is larger than the limit for a download; the download was deleted."
            )
        return self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def unzip(archive: Path, folder: Path, limits: Limits = LIMITS) -> None:
    """Unpack a zip archive into `folder`: plain files and folders only, inside it, of bounded number and size.

    Raises:
        InputRefused: an entry is outside the folder, is a link or encrypted, or the archive is too large or damaged.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > limits.archive_members or total > limits.unpacked_bytes:
                raise InputRefused(
                    f"{archive.name}: unpacks to {len(members):,} entries of {total:,} bytes; the limits are "
                    f"{limits.archive_members:,} entries and {limits.unpacked_bytes:,} bytes."
                )
            for member in members:
                target = _target(archive.name, folder, member)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile stops at the declared size and checks the CRC at the end. "x": no entry overwrites another.
                with source.open(member) as packed, open(target, "xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        FileExistsError,
        NotADirectoryError,
    ) as error:
        raise InputRefused(
            f"{archive.name}: is not a valid zip archive; the download was deleted."
        ) from error


def _target(archive: str, folder: Path, member: zipfile.ZipInfo) -> Path:
    name = member.filename
    unsafe = name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in name.split("/")
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if unsafe or kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
        raise InputRefused(
            f"{archive}: the entry {name[:80]!r} is outside the folder, is a link or is encrypted."
        )
    return folder / name
