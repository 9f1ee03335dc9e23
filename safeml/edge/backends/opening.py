"""Which backend a device gets, and its engine: stored and authenticated, or built now."""

import hashlib
import importlib.util
import json
import os
from typing import Any, Optional, Tuple

from ..build import Job, Limits, run_builder
from ..engine_cache import EngineCache, EngineKey, Loaded
from ..errors import EdgeError
from ..run_settings import run_settings
from .base import Backend
from .plan import Plan, make_plan

AUTO, TENSORRT, TFTRT, ONNXRUNTIME = "auto", "tensorrt", "tftrt", "onnxruntime"
# Smallest, usual and largest number of images of one call; a camera gives one at a time.
BATCHES = (1, 1, 8)


def choose(settings: Any, manifest: Any) -> str:
    """Return the name of the backend: that of the settings, or the first that is installed and for which there is a model."""
    if settings.backend != AUTO:
        return str(settings.backend)
    if installed("tensorrt"):
        return TENSORRT
    if installed("onnxruntime"):
        return ONNXRUNTIME
    if "tftrt" in manifest.models and installed("tensorflow"):
        return TFTRT
    raise EdgeError(
        "neither tensorrt, onnxruntime nor tensorflow is installed; install the TensorRT of the JetPack (package python3-libnvinfer)."
    )


# Immutable, as a named tuple is, so that it may be the default of an argument.
USUAL = Limits()


def open_backend(
    folder: str,
    manifest: Any,
    settings: Any,
    facts: Any,
    cache: Optional[EngineCache] = None,
    limits: Limits = USUAL,
    fresh: bool = False,
) -> Backend:
    """Return the backend of a slot, with its engine ready.

    folder: of the unpacked and verified bundle. settings, facts: of the device. cache: by default the one below `settings.root`.
    limits: of a build. fresh: build the engine even where one is stored.
    Raises EdgeError where the device cannot run the bundle.
    """
    name = choose(settings, manifest)
    if name == ONNXRUNTIME:
        from .onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(folder, manifest, threads=run_settings(settings).threads)
    store = cache if cache is not None else EngineCache(settings.root)
    if name == TFTRT:
        return _tftrt(folder, manifest, facts, store)
    return _tensorrt(folder, manifest, facts, store, limits, fresh)


def _tensorrt(
    folder: str, manifest: Any, facts: Any, cache: EngineCache, limits: Limits, fresh: bool
) -> Backend:
    from .tensorrt import TensorRtBackend
    from .trt_common import import_tensorrt

    trt = import_tensorrt()
    plan = make_plan(str(trt.__version__), facts.compute_capability, manifest.models)
    path = os.path.join(folder, manifest.models[plan.model].path)
    key = engine_key(path, str(trt.__version__), facts, plan, limits.workspace_mb)
    data, record = engine(path, plan, key, cache, limits, fresh)
    record.update(tensorrt=str(trt.__version__), note=plan.note, flags=list(plan.flags), model=plan.model)
    return TensorRtBackend(data, plan, BATCHES[-1], record, trt)


def engine_key(path: str, tensorrt: str, facts: Any, plan: Plan, workspace_mb: int) -> EngineKey:
    """Return what the engine of this file belongs to on this device."""
    made = {"plan": plan._asdict(), "batches": list(BATCHES), "workspace_mb": workspace_mb}
    return EngineKey(
        _sha256(path),
        tensorrt,
        facts.compute_capability or "",
        facts.device_name or "",
        facts.cuda or "",
        facts.l4t or "",
        json.dumps(made, sort_keys=True),
    )


def engine(
    path: str, plan: Plan, key: EngineKey, cache: EngineCache, limits: Limits, fresh: bool
) -> Tuple[bytes, Any]:
    """Return the engine and what is recorded of it: the stored one if it is authentic, else one that is built now."""
    stored = Loaded(None, "asked for", {}) if fresh else cache.load(key)
    if stored.data is not None:
        return stored.data, dict(stored.built, engine="cached", engine_bytes=len(stored.data))
    target = os.path.join(cache.folder, key.name() + ".new")
    try:
        record = run_builder(Job(path, target, dict(plan._asdict()), BATCHES), limits, cache.folder)
        with open(target, "rb") as file:
            built = file.read()
    finally:
        if os.path.exists(target):
            os.unlink(target)
    if not built:
        raise EdgeError(f"the builder wrote an empty engine; the log is in {cache.folder}.")
    cache.store(key, built, {"layers": record.get("layers", {})})
    record.update(engine="built", rebuilt_because=stored.reason)
    return built, record


def _tftrt(folder: str, manifest: Any, facts: Any, cache: EngineCache) -> Backend:
    from .tftrt import TfTrtBackend, converted

    if "tftrt" not in manifest.models:
        raise EdgeError(
            'the bundle has no SavedModel for TF-TRT; set "backend" to "tensorrt" in the device settings.'
        )
    saved = os.path.join(folder, manifest.models["tftrt"].path)
    source = os.path.dirname(saved)
    key = EngineKey(
        _sha256(os.path.join(saved, "saved_model.pb")),
        "tftrt " + (facts.tensorrt or ""),
        facts.compute_capability or "",
        facts.device_name or "",
        facts.cuda or "",
        facts.l4t or "",
        json.dumps({"batch": 1, "variables": _variables(saved)}, sort_keys=True),
    )
    target, record = converted(source, key, cache, 1)
    return TfTrtBackend(target, 1, record)


def _variables(saved: str) -> str:
    path = os.path.join(saved, "variables", "variables.data-00000-of-00001")
    return _sha256(path) if os.path.exists(path) else ""


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read ({error.strerror}); install the bundle again.") from None
    return digest.hexdigest()


def installed(name: str) -> bool:
    """Return whether a module can be imported; it is not imported."""
    return importlib.util.find_spec(name) is not None
