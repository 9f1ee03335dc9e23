"""Every kind of figure. To add one: its record, and its name in the union."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from safeml.results.charts import Bars, Curve, DotPlot, Matrix, Reliability, Table
from safeml.results.grid import Grid
from safeml.results.pictures import Gallery, Strip

Figure = Annotated[
    Table | Curve | Bars | DotPlot | Matrix | Grid | Reliability | Gallery | Strip, Field(union_mode="smart")
]
