"""What a quantization reads: its settings, its images and the file of its float model. No framework is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.config.quantization import QuantizeSettings, load_quantize_settings
from safeml.data.dataset import ImageDataset
from safeml.data.place import Place
from safeml.errors import MissingInput
from safeml.scan.sources import find_model
from safeml.store.files import file_sha256
from safeml.training.data import recipe_data


@dataclass(frozen=True, eq=False)
class QuantizationInputs:
    """The inputs of a quantization; its result is a function of them.

    source: the file of the float model. source_sha256: of its bytes.
    training: the images of calibration and training. choosing: those that select the model.
    """

    settings: QuantizeSettings
    base: Path
    source: Path
    source_sha256: str
    training: ImageDataset
    choosing: ImageDataset

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on beside the settings and the library versions."""
        return {
            "source": self.source_sha256,
            "train": self.training.fingerprint,
            "valid": self.choosing.fingerprint,
        }


def read_inputs(path: Path, place: Place, trained: Path | None = None) -> QuantizationInputs:
    """Read the `quantize.toml` at `path`, and the data and the file that it names.

    trained: the folder of the trained model, where the settings name a recipe.
    Raises ConfigError or InputRefused for invalid ones.
    """
    settings = load_quantize_settings(path)
    source = find_model(trained or path.parent / settings.model.path).file
    if not source.is_file():
        raise MissingInput(
            f"{source}: there is no such file; model.path in {path} names the Keras model to quantize, or the folder of "
            "`safeml train`."
        )
    training, choosing = recipe_data(settings, place)
    return QuantizationInputs(settings, path.parent, source, file_sha256(source), training, choosing)
