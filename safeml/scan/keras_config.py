"""The configuration of a Keras model against the allow-list: every object, every string, every integer in it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from safeml.limits import LIMITS
from safeml.scan.base import Facts, Refused
from safeml.scan.keras_names import (
    ACTIVATIONS,
    ELSEWHERE,
    LAYERS,
    LAYERS_OF_APPLICATIONS,
    MODELS,
    MODULES,
    OLD_MODULES,
    OPERATION_LAYERS,
    OWN_LAYERS,
    OWN_MODULE,
    OWN_PACKAGE,
    QUANTISED,
    REFUSED_LAYERS,
    TABLES,
    VALUES,
    WITHOUT_MODULE,
)

# Where a layer's own name stands, which may hold slashes ("block1/conv").
NAMED = frozenset({"name", "layer_names", "inbound_nodes", "keras_history", "input_layers", "output_layers"})
# Integers that count nothing: seeds, and Python's identities of shared objects.
UNBOUNDED = frozenset({"seed", "shared_object_id"})
# Optimizer, loss and metrics of an object. No prediction needs them: they are not judged, and the loader removes them before
# Keras sees the configuration (`keras_files`), so that nothing is ever built from them.
COMPILATION = "compile_config"
UNREAD = "not read: no prediction needs optimizer, loss and metrics"
# Operations whose gradient is nothing, or zero almost everywhere.
STOPPERS = frozenset(
    {
        "Argmax",
        "Argmin",
        "Ceil",
        "Floor",
        "FloorDivide",
        "OneHot",
        "Round",
        "Sign",
        "StopGradient",
        "Trunc",
    }
)
# Names under which TensorFlow's functions are stored, and what Keras calls them.
ALIASES = {"softmax_v2": "softmax", "log_softmax_v2": "log_softmax"}
SEGMENT = re.compile(r"[A-Za-z0-9_.:>@ -]+")
OUTSIDE = re.compile(r"://|^[/\\~]|\\|(?:^|/)\.\.?(?:/|$)|^[A-Za-z]:[/\\]")
REMEDY = (
    "expected public Keras 3 classes only; export the network from the program that made it as a SavedModel, "
    'model.export("folder") or, before Keras 2.13, model.save("folder", save_format="tf"), and give that folder'
)
REBUILD = "expected a network from pixels to classes; rebuild it without that layer and save the model again"
GIVE_INNER = (
    "give that SavedModel folder itself, if it is the whole network, or export the whole network as one"
)
# Remedies for a quantised model; the second for int8 and int4, which the export writes in operators of inference.
EXPORT_QUANTISED = (
    "give the model that was saved before model.quantize",
    'export it, model.export("model.onnx", format="onnx"), and give that file',
)


def scan_config(config: Any, what: str) -> Facts:
    """Facts of a decoded model configuration; `what` names it in messages. Raises `Refused` at the first offence."""
    if not isinstance(config, dict):
        raise Refused(f"{what} is a {type(config).__name__}; expected the JSON object that Keras writes")
    counts: Counter[str] = Counter()
    _walk(config, [], counts, what=what)
    kinds = sorted(set(counts) & (LAYERS | LAYERS_OF_APPLICATIONS | set(OWN_LAYERS)) - {"InputLayer"})
    facts: Facts = {"layers": sum(counts[kind] for kind in kinds), "layer kinds": ", ".join(kinds)}
    stoppers = ", ".join(dict.fromkeys(_gradient_stoppers(config)))
    if stoppers:
        facts["operations without a gradient"] = stoppers if len(stoppers) <= 500 else f"{stoppers[:500]} ..."
    return facts | ({"compilation": UNREAD} if counts[COMPILATION] else {})


def _gradient_stoppers(value: Any) -> Iterator[str]:
    """Each operation of the network that lets no gradient pass, as "Round (round_1)"."""
    if isinstance(value, list):
        for inner in value:
            yield from _gradient_stoppers(inner)
    elif isinstance(value, dict):
        kind, config = value.get("class_name"), value.get("config")
        settings = config if isinstance(config, dict) else {}
        if kind in STOPPERS or (kind == "Cast" and "int" in str(settings.get("dtype"))):
            yield f"{kind} ({_short(str(settings.get('name', 'unnamed')))})"
        for name, inner in value.items():
            if name != COMPILATION:
                yield from _gradient_stoppers(inner)


def scan_model_config(config: Any, what: str) -> Facts:
    """As `scan_config`, for what must be a whole model."""
    facts = scan_config(config, what)
    name = config.get("class_name")
    if not isinstance(name, str) or name not in MODELS:
        raise Refused(
            f'{what} is not of a model: class_name is {_shown(name)}; expected "Sequential" or "Functional"'
        )
    return facts


def _walk(value: Any, place: list[str], counts: Counter[str], *, what: str) -> None:
    key = next((part for part in reversed(place) if not part.startswith("[")), "")
    if isinstance(value, dict):
        if "class_name" in value:
            _check_object(value, place, what)
            counts[str(value["class_name"])] += 1
        for name, inner in value.items():
            _check_string(name, f"a key of {_where(place, what)}", named=True)
            if name == COMPILATION and "class_name" in value:
                counts[COMPILATION] += inner is not None
                continue
            _walk(inner, [*place, name], counts, what=what)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _walk(inner, [*place, f"[{index}]"], counts, what=what)
    elif isinstance(value, str):
        _check_string(value, _where(place, what), named=bool(NAMED & set(place)))
    elif isinstance(value, int) and not isinstance(value, bool):
        if key not in UNBOUNDED and abs(value) > LIMITS.hyperparameter:
            raise Refused(
                f"{_where(place, what)} is {value:,}; integers are at most {LIMITS.hyperparameter:,}, so this is no usable model"
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"{_where(place, what)} is not a finite number")


def _check_object(value: dict[str, Any], place: list[str], what: str) -> None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    where = _where(place, what)
    if (
        not isinstance(name, str)
        or not isinstance(module, str | None)
        or not isinstance(registered, str | None)
    ):
        raise Refused(f"{where} names a class by something that is no string; {REMEDY}")
    if name in QUANTISED:
        raise Refused(
            f"{where} is {_shown(name)}: the model was quantised by model.quantize ({QUANTISED[name]}), and its integer layers "
            f"are not opened from a Keras file; {EXPORT_QUANTISED[QUANTISED[name] in ('int8', 'int4')]}"
        )
    if name in REFUSED_LAYERS:
        remedy = {TABLES: REBUILD, ELSEWHERE: GIVE_INNER}.get(REFUSED_LAYERS[name], REMEDY)
        raise Refused(f"{where} is a {name} layer, which {REFUSED_LAYERS[name]}; {remedy}")
    if name == "function":
        if (
            module != "builtins"
            or value.get("config") not in {*ACTIVATIONS, *ALIASES}
            or registered not in (None, "function")
        ):
            raise Refused(f"{where} is a function object ({_shown(value.get('config'))}); {REMEDY}")
        return
    if name in VALUES:
        if module not in (None, "builtins") or registered not in (None, name):
            raise Refused(f"{where} is {_shown(name)} of the module {_shown(module)}; {REMEDY}")
        return
    if module == OWN_MODULE:
        _check_own_layer(value, where)
        return
    if registered not in (None, name):
        raise Refused(f"{where} is registered as {_shown(registered)} but named {_shown(name)}; {REMEDY}")
    known = WITHOUT_MODULE if module is None else {**MODULES, **OLD_MODULES}.get(module, frozenset())
    if name not in known:
        of = "" if module is None else f" of the module {_shown(module)}"
        missing = ", a layer of Keras 2 that Keras 3 does not have" if name in OPERATION_LAYERS else ""
        raise Refused(f"{where} is {_shown(name)}{of}{missing}; {REMEDY}")


def _check_own_layer(value: dict[str, Any], where: str) -> None:
    """Check a layer of a fake-quantized model of `safeml quantize`: its class, its registered name, the keys of its configuration."""
    name, config = value["class_name"], value.get("config")
    if name not in OWN_LAYERS or value.get("registered_name") != f"{OWN_PACKAGE}>{name}":
        raise Refused(f"{where} is {_shown(name)} of the module {_shown(OWN_MODULE)}; {REMEDY}")
    unknown = sorted(set(config) - OWN_LAYERS[name]) if isinstance(config, dict) else []
    if not isinstance(config, dict) or unknown:
        what = f"with the key {_shown(unknown[0])}" if unknown else "without a configuration"
        raise Refused(f"{where} is {_shown(name)} {what}; expected the layer as `safeml quantize` writes it")


def _check_string(text: str, where: str, *, named: bool) -> None:
    if len(text) > LIMITS.config_string:
        raise Refused(
            f"{where} is a text of {len(text):,} characters; at most {LIMITS.config_string:,} are expected"
        )
    if not text.isprintable():
        raise Refused(f"{where} holds characters that are no text")
    if OUTSIDE.search(text) or ("/" in text and not named):
        raise Refused(
            f"{where} looks like a path or an address ({_shown(text)}); a model file names no other file"
        )
    if "/" in text and not all(SEGMENT.fullmatch(part) for part in text.split("/")):
        raise Refused(f"{where} looks like a path ({_shown(text)}); a model file names no other file")


def _where(place: list[str], what: str) -> str:
    """'config.json: config.layers[1]', in the words of a path through the JSON."""
    path = "".join(part if part.startswith("[") else f".{_short(part)}" for part in place).removeprefix(".")
    return f"{what}: {path}" if path else what


def _shown(value: Any) -> str:
    return f'"{_short(value)}"' if isinstance(value, str) else f"of type {type(value).__name__}"


def _short(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"
    return "".join(character if character.isprintable() else "?" for character in shown)
