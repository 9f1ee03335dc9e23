"""Files that belong to the evidence of a stage and are too large or of another kind than results.json."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from safeml.results.base import Record

ARTEFACTS = "artefacts"  # the folder of them in a run folder, with one folder for each stage
MOST_ARTEFACT_BYTES = 64 * 1024 * 1024
Content = bytes  # the field `bytes` hides the type in the class
ArtefactName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}\.(json|npz)$")]


class Artefact(Record):
    """A file that a stage hands over with its numbers; it lies at `artefacts/STAGE/NAME` of the run folder.

    name: of the file.
    bytes: its size.
    sha256: of its content, in hex.
    """

    name: ArtefactName
    bytes: int = Field(ge=0, le=MOST_ARTEFACT_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, name: str, content: Content) -> Artefact:
        """Return the record of a file with this content."""
        return cls(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def describes(self, content: Content) -> bool:
        """Return whether this is the record of a file with this content."""
        return self == Artefact.of(self.name, content)


def artefact_path(stage: str, name: str) -> str:
    """Return the place of an artefact in its run folder, with `/` between the parts."""
    return f"{ARTEFACTS}/{stage}/{name}"
