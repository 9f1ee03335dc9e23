"""Whether a bundle is meant for this device, now: its product, release, dates, runtime and constraints, each against the device's own.

Every check compares a manifest with settings, facts or clock; none reads a file.
"""

from typing import TYPE_CHECKING, Any, Tuple

from . import moments
from .errors import Refused
from .manifest import Manifest, Range
from .settings import DeviceSettings
from .strict_json import quoted
from .version import VERSION

if TYPE_CHECKING:
    from .facts import DeviceFacts


def check_product(manifest: Manifest, settings: DeviceSettings) -> None:
    """Refuse a bundle for another product."""
    if manifest.product != settings.product:
        raise Refused(
            "wrong-product",
            f"the bundle is for {quoted(manifest.product)}; this device is {quoted(settings.product)}.",
        )


def check_release(manifest: Manifest, last_release: int) -> None:
    """Refuse a release that is not above the last one."""
    if manifest.release > last_release:
        return
    if manifest.release == last_release:
        raise Refused(
            "same-release",
            f"release {manifest.release} has been on this device already; expected a later one.",
        )
    raise Refused(
        "rollback",
        f"release {manifest.release} is older than release {last_release}, which this device has had.",
    )


def check_dates(manifest: Manifest, settings: DeviceSettings, now: float) -> None:
    """Refuse a bundle from the future, one past its last day, and one without a last day where the settings require one."""
    if not now >= manifest.created:
        raise Refused(
            "clock-behind",
            f"the clock is at {moments.utc(now)} and the bundle was made at {moments.utc(manifest.created)}; set the clock.",
        )
    if manifest.expires is None:
        if not settings.allow_no_expiry:
            raise Refused(
                "no-expiry",
                "the bundle has no last day; this device requires one (allow_no_expiry of its settings).",
            )
    elif now >= manifest.expires:
        raise Refused(
            "expired", f"the bundle was valid until {moments.utc(manifest.expires)}; install a newer release."
        )


def check_runtime(manifest: Manifest) -> None:
    """Refuse a bundle that needs a newer runtime than this one."""
    if (moments.numbers(VERSION) or ()) < manifest.runtime:
        raise Refused(
            "runtime-too-old",
            f"the bundle needs safeml-edge {_dotted(manifest.runtime)}; this is {VERSION}; update it.",
        )


def check_device(manifest: Manifest, settings: DeviceSettings, facts: "DeviceFacts") -> None:
    """Refuse a bundle whose constraints the device does not meet; a fact that could not be read meets none.

    GPU, TensorRT and JetPack do not count where the settings choose ONNX Runtime, which uses none of them.
    """
    needs = manifest.constraints
    if (
        needs.architectures
        and _known(facts.architecture, "processor architecture") not in needs.architectures
    ):
        raise _constrained(
            "wrong-architecture", "architecture", facts.architecture, " or ".join(needs.architectures)
        )
    if settings.backend != "onnxruntime":
        capability = needs.compute_capabilities
        if capability and _known(facts.compute_capability, "GPU's compute capability") not in capability:
            raise _constrained(
                "wrong-compute-capability",
                "compute capability",
                facts.compute_capability,
                " or ".join(capability),
            )
        for reason, name, value, span in (
            ("wrong-tensorrt", "TensorRT", facts.tensorrt, needs.tensorrt),
            ("wrong-jetpack", "JetPack", facts.jetpack, needs.jetpack),
        ):
            if not within(value, name, span):
                raise _constrained(reason, name, value, _span(span))
    if needs.memory_mb and not _known(facts.memory_mb, "memory") >= needs.memory_mb:
        raise _constrained(
            "too-little-memory", "memory", f"{facts.memory_mb} MB", f"at least {needs.memory_mb} MB"
        )


def within(value: Any, name: str, span: Range) -> bool:
    """Return whether a version of the device, as text, is in the span; raises Refused where it is unknown and constrained."""
    if span.least is None and span.below is None:
        return True
    version = _known(moments.numbers(value), name + " version")
    return (span.least is None or version >= span.least) and (span.below is None or version < span.below)


def _known(value: Any, name: str) -> Any:
    if value is None:
        raise Refused(
            "device-unknown",
            f"the {name} of this device could not be read, and the bundle constrains it; run `safeml-edge preflight`.",
        )
    return value


def _constrained(reason: str, name: str, ours: Any, theirs: str) -> Refused:
    return Refused(reason, f"the bundle is for {name} {theirs}; this device has {ours}.")


def _span(span: Range) -> str:
    least = [] if span.least is None else [f"from {_dotted(span.least)}"]
    below = [] if span.below is None else [f"below {_dotted(span.below)}"]
    return " and ".join(least + below)


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
