"""Pictures that safeml encoded itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from safeml.results.base import Finite, Record

MOST_PANELS = 120


class Panel(Record):
    """One picture: `png` is base64 of a PNG that safeml encoded itself, never the user's bytes."""

    label: str
    png: str = Field(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]+={0,2}$", max_length=2_000_000)
    width: int = Field(ge=1, le=1024)
    height: int = Field(ge=1, le=1024)
    kind: Literal["image", "change"] = "image"


class GalleryItem(Record):
    panels: list[Panel]
    true_name: str
    true_confidence: Finite | None = None
    predicted_name: str = ""
    predicted_confidence: Finite | None = None
    index: int | None = None
    note: str = ""


class Gallery(Record):
    id: str
    title: str
    items: list[GalleryItem]
    caption: str = ""


class StripRow(Record):
    """One row of pictures; None: no picture for this column."""

    label: str = ""
    panels: list[Panel | None]


class Strip(Record):
    """One image under many conditions: a picture by row and column; `Panel.label` is printed under the picture.

    At most MOST_PANELS pictures, so that a page stays small. A single row wraps to the width of the page.
    """

    id: str
    title: str
    columns: list[str]
    rows: list[StripRow]
    caption: str = ""

    @model_validator(mode="after")
    def _same_shape(self) -> Strip:
        if any(len(row.panels) != len(self.columns) for row in self.rows):
            raise ValueError(f"strip {self.id}: columns and pictures differ in number")
        pictures = sum(panel is not None for row in self.rows for panel in row.panels)
        if pictures > MOST_PANELS:
            raise ValueError(f"strip {self.id}: {pictures} pictures; at most {MOST_PANELS} fit on a page")
        return self
