"""The table `[bundle]`: what goes to a device, and which devices may take it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from safeml.results import Finite
from safeml.settings.base import PathText, Settings

Precision = Literal["int8", "int8-fp16", "float", "tftrt"]
VersionText = Annotated[str, Field(pattern=r"^(\d{1,6}(\.\d{1,6}){0,3})?$")]
Architecture = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
Capability = Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]


class ConstraintSettings(Settings):
    """What a device must be. A device that is not, or does not know, refuses the bundle.

    architectures: of the processor; x86_64 is a PC that rehearses the device with ONNX Runtime.
    compute_capabilities: of the GPU, such as "8.7"; by default those of docs/jetson.md that run the files of the bundle.
    tensorrt_least, tensorrt_below: the oldest version, and the first that is too new; by default those of docs/jetson.md.
    jetpack_least, jetpack_below: the same for JetPack; "" for any.
    memory_mb: least memory of the device, in MiB; by default four times the largest model file, and 512.
    """

    architectures: tuple[Architecture, ...] = ("aarch64", "x86_64")
    compute_capabilities: tuple[Capability, ...] = ()
    tensorrt_least: VersionText = ""
    tensorrt_below: VersionText = ""
    jetpack_least: VersionText = ""
    jetpack_below: VersionText = ""
    memory_mb: int | None = Field(default=None, ge=0, le=2**20)


class BundleSettings(Settings):
    """What `safeml bundle` makes of a run. With product and key, `safeml run` makes a bundle after a passed verdict.

    product: a device takes bundles of this product alone; letters, digits, dots, hyphens and underscores.
    release: number of the release; a device takes larger numbers alone.
    version: free text for people.
    key: the private key that signs, an encrypted PEM file of `safeml keys new`.
    float_run: the run folder of the audit of model.float.onnx; its monitor goes along, so that devices without fast INT8 can trust a frame.
    expires_days: days after which no device installs the bundle; 0 for no end, which a device may refuse.
    tolerances: by the kind of a model file (int8, int8-fp16, float, tftrt), largest difference of a logit from the golden one; by
        default measured.
    """

    product: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$")
    release: int | None = Field(default=None, ge=1, le=2**31 - 1)
    version: str = Field(default="", max_length=200)
    key: PathText = ""
    float_run: PathText = ""
    expires_days: int = Field(default=365, ge=0, le=3650)
    tolerances: dict[Precision, Annotated[Finite, Field(gt=0, le=1e6)]] = Field(default_factory=dict)
    constraints: ConstraintSettings = ConstraintSettings()
