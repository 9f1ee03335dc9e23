"""Where new releases come from: a folder, a USB stick, or an HTTPS server."""

import os
from typing import List, Optional

from .errors import EdgeError, Usage
from .https import Https
from .index import INDEX, MOST_BYTES, Entry, newest_file, parse_index

USB = "usb"
# Folders in which systems mount removable media: one level below, or two below /media and /run/media.
MEDIA = ("media", "media/*", "run/media/*", "mnt")
MOST_MEDIA = 64
BELOW = "safeml"


class Source:
    """A place with bundles. where: for messages and the status."""

    where = ""

    def entry(self, product: str) -> Optional[Entry]:
        """Return the newest release by the index, which decides nothing; None for no release."""
        raise NotImplementedError

    def fetch(self, name: str, length: int, folder: str) -> str:
        """Return the path of a file of the source, downloaded to `folder` where it is not on this machine."""
        raise NotImplementedError


class FolderSource(Source):
    """A folder with an index, or with files PRODUCT-RELEASE.safeml. Files are read where they are."""

    def __init__(self, folder: str) -> None:
        self.folder = self.where = folder

    def entry(self, product: str) -> Optional[Entry]:
        path = os.path.join(self.folder, INDEX)
        if os.path.isfile(path):
            try:
                with open(path, "rb") as stream:
                    return parse_index(stream.read(MOST_BYTES + 1), path)
            except OSError as error:
                raise EdgeError(f"{path} cannot be read ({error.strerror}); check the medium.") from None
        try:
            path, release = newest_file(self.folder, product)
            size = os.path.getsize(path) if path else 0
        except OSError as error:
            raise EdgeError(
                f"{self.folder} cannot be read ({error.strerror}); check update.source."
            ) from None
        return Entry(product, release, os.path.basename(path), size, 100.0, ()) if path else None

    def fetch(self, name: str, length: int, folder: str) -> str:
        return os.path.join(self.folder, name)


class HttpsSource(Source):
    """A folder on an HTTPS server, which must have an index."""

    def __init__(self, server: Https) -> None:
        self.server = server
        self.where = server.address

    def entry(self, product: str) -> Optional[Entry]:
        data = self.server.read(INDEX, MOST_BYTES)
        return None if data is None else parse_index(data, self.where + INDEX)

    def fetch(self, name: str, length: int, folder: str) -> str:
        return self.server.fetch(name, length, folder)


class UsbSource(Source):
    """The folder `safeml` of every removable medium; the newest release of all of them."""

    def __init__(self, root: str = "/") -> None:
        self.where = USB
        self.root = root
        self.best: Optional[FolderSource] = None

    def entry(self, product: str) -> Optional[Entry]:
        newest: Optional[Entry] = None
        for folder in media(self.root):
            source = FolderSource(folder)
            entry = source.entry(product)
            if entry is not None and (newest is None or entry.release > newest.release):
                newest, self.best = entry, source
        return newest

    def fetch(self, name: str, length: int, folder: str) -> str:
        if self.best is None:
            raise EdgeError(f"no removable medium holds {name}; insert it again.")
        return self.best.fetch(name, length, folder)


def media(root: str = "/") -> List[str]:
    """Return the folders `safeml` of the removable media that are mounted below `root`."""
    folders: List[str] = []
    for pattern in MEDIA:
        base, deep = os.path.join(root, pattern.split("/*")[0]), pattern.endswith("*")
        for parent in _children(base) if deep else [base]:
            folders.extend(os.path.join(medium, BELOW) for medium in _children(parent))
    return sorted({folder for folder in folders if os.path.isdir(folder) and not os.path.islink(folder)})


def _children(folder: str) -> List[str]:
    try:
        names = sorted(os.listdir(folder))[:MOST_MEDIA]
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if os.path.isdir(os.path.join(folder, name))]


def open_source(source: Optional[str]) -> Source:
    """Return the source that the settings name. Raises Usage for none, and for one that is neither an address nor an absolute path."""
    if not source:
        raise Usage("the settings name no update.source; write an https address, an absolute folder or usb.")
    if source == USB:
        return UsbSource()
    if "://" in source:
        return HttpsSource(Https(source))
    if not os.path.isabs(source):
        raise Usage(
            f"update.source is {source[:100]!r}; expected an https address, an absolute folder or usb."
        )
    return FolderSource(source)
