"""JSON lines to a file that is rotated by its size, or to the standard output. What is written together is flushed together."""

import json
import os
import sys
from typing import Any, Dict, List, Optional

from .errors import EdgeError

KEPT_FILES = 4


class Lines:
    """Writes records, one a line, with sorted keys.

    path: file; "-" for the standard output, "" for none. most: bytes of a file before it is rotated to PATH.1, PATH.2 and so on.
    """

    def __init__(self, path: str, most: int = 64 << 20, kept: int = KEPT_FILES) -> None:
        self.path, self.most, self.kept = path, int(most), int(kept)
        self.size = 0
        self.file: Optional[Any] = None
        self.encode = json.JSONEncoder(sort_keys=True, allow_nan=False, separators=(", ", ": ")).encode
        if path == "-":
            self.file = sys.stdout
        elif path:
            self._open()

    def write(self, record: Dict[str, Any]) -> None:
        """Write one record. Raises EdgeError where the disk refuses."""
        self.write_all([self.encode(record) + "\n"])

    def write_all(self, lines: List[str]) -> None:
        """Write lines together: in one piece, but where a file is full. Raises EdgeError where the disk refuses."""
        if self.file is None or not lines:
            return
        try:
            if self.path == "-" or self.size + sum(map(len, lines)) <= self.most:
                self._put("".join(lines))
            else:
                for line in lines:
                    if self.size and self.size + len(line) > self.most:
                        self._rotate()
                    self._put(line)
            self.file.flush()
        except OSError as error:
            raise EdgeError(f"{self.path}: cannot be written ({error.strerror}).") from None

    def _put(self, text: str) -> None:
        if self.file is not None:
            self.file.write(text)
            self.size += len(text)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self.file is not None and self.path != "-":
            self.file.close()
        self.file = None

    def _open(self) -> None:
        try:
            self.file = open(self.path, "a", encoding="ascii", newline="\n")  # noqa: SIM115
            self.size = os.fstat(self.file.fileno()).st_size
        except OSError as error:
            raise EdgeError(f"{self.path}: cannot be written ({error.strerror}).") from None

    def _rotate(self) -> None:
        if self.file is not None:
            self.file.close()
        for number in range(self.kept - 1, 0, -1):
            older = f"{self.path}.{number}"
            if os.path.exists(older):
                os.replace(older, f"{self.path}.{number + 1}")
        os.replace(self.path, self.path + ".1")
        self._open()
