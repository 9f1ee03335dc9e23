"""What a backend is. Legend: N images, H W C pixels, K classes, F features. The commands import it, so that NumPy waits for an inference."""

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

if TYPE_CHECKING:
    import numpy as np


class Backend:
    """Runs one model of the bundle. A backend belongs to one thread.

    name: "tensorrt", "tftrt" or "onnxruntime".
    precision: of the model that it runs, a key of `manifest.models`.
    details: plain data for records, such as versions, where the engine came from, and why.
    """

    name = ""

    def __init__(self, precision: str, details: Dict[str, Any]) -> None:
        self.precision, self.details = precision, details

    def infer(self, values: "np.ndarray") -> "Tuple[np.ndarray, Optional[np.ndarray]]":
        """Return logits, float32 [N, K], and features, float32 [N, F], or None where the model gives none.

        values: float32 [N, H, W, C] in the values that the model takes.
        Raises EdgeError where the device fails.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release the memory of the device. A second call does nothing."""


def split_outputs(
    names: Tuple[str, ...], outputs: Tuple[Any, ...]
) -> "Tuple[np.ndarray, Optional[np.ndarray]]":
    """Return logits and features as float32 of outputs that have these names; further outputs are ignored."""
    import numpy as np

    table = dict(zip(names, outputs))
    features = table.get("features")
    return (
        np.asarray(table["logits"], np.float32),
        None if features is None else np.asarray(features, np.float32),
    )
