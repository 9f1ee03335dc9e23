"""The records that everything is derived from: plain, versioned, serialisable.

Audits write these, gates decide from them, reports draw them. No record knows a threshold but `Gate`,
and none holds an array. A number that could not be measured is `value=None` with a status and a reason:
it is never replaced by a number.
"""

from __future__ import annotations

from safeml.results.artefacts import ARTEFACTS, MOST_ARTEFACT_BYTES, Artefact, artefact_path
from safeml.results.base import (
    BASELINE,
    LOSS,
    MODEL,
    SCHEMA_VERSION,
    Direction,
    Finite,
    Proportion,
    Record,
    Scalar,
    StageName,
    SubjectName,
    Unit,
)
from safeml.results.charts import (
    Bars,
    Column,
    Curve,
    Dot,
    DotPlot,
    Matrix,
    Reliability,
    ReliabilityBin,
    Series,
    Table,
)
from safeml.results.decision import (
    Accepted,
    Gate,
    GateResult,
    GateStatus,
    Loosened,
    Ungated,
    UngatedState,
    Verdict,
    Waiver,
)
from safeml.results.figures import Figure
from safeml.results.grid import (
    Grid,
    GridCell,
    GridGroup,
    GridMark,
    GridRead,
    GridRow,
)
from safeml.results.metrics import (
    Alarm,
    Finding,
    Metric,
)
from safeml.results.pictures import (
    MOST_PANELS,
    Gallery,
    GalleryItem,
    Panel,
    Strip,
    StripRow,
)
from safeml.results.run import (
    DataIdentity,
    GradientsIdentity,
    ModelIdentity,
    ModelOrigin,
    ModelScan,
    Run,
    test_data_of,
)
from safeml.results.stage import (
    Card,
    Fact,
    Provenance,
    StageResult,
)
from safeml.results.times import (
    Recomputed,
    Resume,
    RunTimes,
)

__all__ = [
    "ARTEFACTS",
    "BASELINE",
    "LOSS",
    "MODEL",
    "MOST_ARTEFACT_BYTES",
    "MOST_PANELS",
    "SCHEMA_VERSION",
    "Accepted",
    "Alarm",
    "Artefact",
    "Bars",
    "Card",
    "Column",
    "Curve",
    "DataIdentity",
    "Direction",
    "Dot",
    "DotPlot",
    "Fact",
    "Figure",
    "Finding",
    "Finite",
    "Gallery",
    "GalleryItem",
    "Gate",
    "GateResult",
    "GateStatus",
    "GradientsIdentity",
    "Grid",
    "GridCell",
    "GridGroup",
    "GridMark",
    "GridRead",
    "GridRow",
    "Loosened",
    "Matrix",
    "Metric",
    "ModelIdentity",
    "ModelOrigin",
    "ModelScan",
    "Panel",
    "Proportion",
    "Provenance",
    "Recomputed",
    "Record",
    "Reliability",
    "ReliabilityBin",
    "Resume",
    "Run",
    "RunTimes",
    "Scalar",
    "Series",
    "StageName",
    "StageResult",
    "Strip",
    "StripRow",
    "SubjectName",
    "Table",
    "Ungated",
    "UngatedState",
    "Unit",
    "Verdict",
    "Waiver",
    "artefact_path",
    "test_data_of",
]
