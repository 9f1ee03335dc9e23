"""The records of a manifest, field by field as in its JSON. Legend: H W C image, K classes, F features."""

from typing import Dict, NamedTuple, Optional, Tuple


class File(NamedTuple):
    """One file of the bundle.

    name: relative, with "/" between folders.
    bytes: its length.
    sha256: of its content.
    """

    name: str
    bytes: int
    sha256: str


class Input(NamedTuple):
    """The input contract of the models.

    height, width, depth: of the array [H, W, C] that is fed; depth is 1 for grey, else 3.
    channels: order of the channels, "rgb", "bgr" or "grey".
    low, high: the values of pixel 0 and pixel 255, before mean and std; linear between them.
    mean, std: of each channel, or empty; (value - mean) / std is fed.
    standardise: each image is fed minus its mean, divided by its standard deviation.
    """

    height: int
    width: int
    depth: int
    channels: str
    low: float
    high: float
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    standardise: bool


class Model(NamedTuple):
    """One model of the bundle.

    key: one of `MODELS`.
    path: the ONNX file, or the folder of a SavedModel without "/" at its end.
    fingerprint: the one that the audit recorded.
    kind: one of `KINDS`.
    precision: one of `PRECISIONS`.
    opset: of ONNX; 0 for a SavedModel.
    inputs, outputs: names of the graph; the logits come first.
    """

    key: str
    path: str
    fingerprint: str
    kind: str
    precision: str
    opset: int
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]


class Tolerance(NamedTuple):
    """How far outputs on the device may be from the golden ones.

    max_abs: largest absolute difference of a logit.
    flips: images whose predicted class may differ.
    """

    max_abs: float
    flips: int


class Golden(NamedTuple):
    """Inputs with recorded outputs.

    file: the .npz file.
    tolerances: by precision.
    """

    file: str
    tolerances: Dict[str, Tolerance]


class Preprocessing(NamedTuple):
    """The preprocessing contract.

    file: its JSON. raw: a .npz file with a raw image and its golden tensor.
    """

    file: str
    raw: str


class Range(NamedTuple):
    """Versions from `least` on and below `below`; None where that end is open. Tuples of numbers."""

    least: Optional[Tuple[int, ...]]
    below: Optional[Tuple[int, ...]]


class Constraints(NamedTuple):
    """What a device must be.

    architectures: such as "aarch64"; empty for any.
    compute_capabilities: such as "8.7"; empty for any.
    tensorrt, jetpack: versions.
    memory_mb: least memory; 0 for any.
    """

    architectures: Tuple[str, ...]
    compute_capabilities: Tuple[str, ...]
    tensorrt: Range
    jetpack: Range
    memory_mb: int


class Evidence(NamedTuple):
    """The audit behind the bundle.

    verdict, profile: those of the run. rules: version of the rules that decided.
    results_sha256: of results.json.
    gates: how many passed, failed, are not_proven and are waived.
    model_fingerprint: of the model that was audited.
    """

    verdict: str
    profile: str
    rules: str
    results_sha256: str
    gates: Dict[str, int]
    model_fingerprint: str


class FloatMonitor(NamedTuple):
    """The monitor of the float model, from an audit of that model.

    folder: of the state, without "/" at its end. model: fingerprint of the model that it was fitted on.
    max_abs: largest difference of a score from the recorded one with which a device may use it.
    verdict, profile, results_sha256: of the audit of the float model; see `Evidence`.
    """

    folder: str
    model: str
    max_abs: float
    verdict: str
    profile: str
    results_sha256: str


class Manifest(NamedTuple):
    """A manifest, field by field as in its JSON.

    release: grows with each release of a product. version: free text.
    created, expires: seconds since 1970; expires is None for a bundle without a last day.
    runtime: least version of the edge runtime.
    files: sorted by name.
    classes: K. features: F, 0 where the models give none.
    models: by key.
    monitor: folder of the monitor's state without "/" at its end, or None. monitor_model: the fingerprint it was fitted on.
    float_monitor: None where the float model was not audited; the key may be missing.
    """

    product: str
    release: int
    version: str
    created: int
    expires: Optional[int]
    runtime: Tuple[int, ...]
    files: Tuple[File, ...]
    classes: int
    features: int
    input: Input
    models: Dict[str, Model]
    labels: str
    preprocessing: Preprocessing
    golden: Golden
    monitor: Optional[str]
    monitor_model: Optional[str]
    constraints: Constraints
    evidence: Evidence
    float_monitor: Optional[FloatMonitor] = None
