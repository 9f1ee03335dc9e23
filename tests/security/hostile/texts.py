"""Hostile JSON and hostile numbers: rows 16, 17, 19 and 20."""

from __future__ import annotations

import codecs
import json
import pickle
from collections.abc import Callable
from pathlib import Path

from tests.security.hostile import clean
from tests.security.hostile.archives import zipped
from tests.security.hostile.case import ANY, REFUSED, Build, add
from tests.security.hostile.clean import Config, dense, layer
from tests.security.hostile.configs import archive, with_layer, with_setting
from tests.security.hostile.rawzip import Entry, deflated

CLEAN = json.dumps(clean.clean_config())


def config_bytes(content: bytes) -> Build:
    return lambda folder: clean.keras_file(folder / "model.keras", content)


def packed_config(content: Callable[[], bytes]) -> Build:
    """The configuration as a deflated member: a large text in a small file. It is made when it is asked for."""

    def change(entries: list[Entry]) -> list[Entry]:
        return [deflated(one.name, content()) if one.name == "config.json" else one for one in entries]

    return zipped(change)


def inserted(text: str, encoding: str = "utf-8") -> bytes:
    """The clean configuration with `text`, one more key and value, at its start."""
    return ("{" + text + ", " + CLEAN[1:]).encode(encoding, "surrogatepass")


JSON = r"config\.json"
for _name, _content in {
    "nested_lists": inserted('"x": ' + "[" * 70 + "]" * 70),
    "nested_objects": inserted('"x": ' + '{"a":' * 70 + "1" + "}" * 70),
    "nested_unclosed": b"[" * 70,
    "nested_in_a_setting": CLEAN.replace('"units": 16', '"units": ' + "[" * 70 + "]" * 70).encode(),
    "long_integer": inserted('"x": ' + "9" * 21),
    "long_negative_integer": inserted('"x": -' + "9" * 21),
    "long_float": inserted('"x": 0.' + "9" * 500),
    "long_exponent": inserted('"x": 1e' + "9" * 21),
    "overflow_to_infinity": CLEAN.replace('"units": 16', '"units": 1e400').encode(),
    "nan": CLEAN.replace('"units": 16', '"units": NaN').encode(),
    "infinity": CLEAN.replace('"units": 16', '"units": Infinity').encode(),
    "minus_infinity": CLEAN.replace('"units": 16', '"units": -Infinity').encode(),
    "duplicate_key": CLEAN.replace('"units": 16', '"units": 16, "units": 17').encode(),
    "duplicate_key_layers": CLEAN.replace('"layers":', '"layers": [], "layers":').encode(),
    "duplicate_key_by_escape": CLEAN.replace('"units": 16', '"units": 16, "\\u0075nits": 17').encode(),
    "lone_surrogate": CLEAN.replace('"dense"', '"\\ud800"', 1).encode(),
    "lone_surrogate_as_key": inserted('"\\udfff": 1'),
    "lone_surrogate_in_utf8": inserted('"\ud800": 1'),
    "overlong_utf8": CLEAN.encode().replace(b'"dense"', b'"\xc0\xaf"', 1),
    "latin_1": inserted('"\xe9": 1', "latin-1"),
    "byte_order_mark": codecs.BOM_UTF8 + CLEAN.encode(),
    "utf_16": CLEAN.encode("utf-16"),
    "utf_32": CLEAN.encode("utf-32"),
    "list_at_the_top": f"[{CLEAN}]".encode(),
    "text_at_the_top": b'"Sequential"',
    "number_at_the_top": b"1",
    "null_at_the_top": b"null",
    "empty_object": b"{}",
    "trailing_comma": CLEAN[:-1].encode() + b",}",
    "two_values": CLEAN.encode() + CLEAN.encode(),
    "trailing_nul": CLEAN.encode() + b"\0",
    "comment": b"// hello\n" + CLEAN.encode(),
    "single_quotes": CLEAN.replace('"', "'").encode(),
    "control_character": CLEAN.replace('"dense"', '"de\nnse"', 1).encode(),
    "pickle": pickle.dumps({"class_name": "Sequential"}, 4),
}.items():
    _answers = ANY if _name == "long_float" else REFUSED
    add(f"json_{_name}", 16, config_bytes(_content), JSON + "|Sequential|units|name", _answers)
add("json_metadata_nested", 16, lambda f: clean.keras_file(f / "m.keras", metadata=b"[" * 70), "metadata")
add("json_metadata_is_list", 16, lambda f: clean.keras_file(f / "m.keras", metadata=b"[]"), "metadata")
add(
    "json_metadata_future",
    16,
    lambda f: clean.keras_file(f / "m.keras", metadata=b'{"keras_version": "99.0"}'),
    "",
    ANY,
)
# Above the bounds, which are lowered to what a small file exceeds.
for _name, _text in {
    "lists": '"x": [' + "[]," * 500 + "[]]",
    "keys": '"x": {' + ",".join(f'"{index}":0' for index in range(500)) + "}",
    "numbers": '"x": [' + "1," * 500 + "1]",
}.items():
    add(
        f"json_many_{_name}",
        16,
        config_bytes(inserted(_text)),
        "more than 400 values",
        strict_json__config_values=400,
    )
add("json_long_text", 16, config_bytes(inserted('"x": "' + "a" * 1_001 + '"')), "text of 1,001 characters")
add("json_long_key", 16, config_bytes(inserted(f'"{"a" * 1_001}": 1')), "text of 1,001 characters")
add("json_long_escapes", 16, config_bytes(inserted('"x": "' + "\\u0041" * 1_001 + '"')), "text of 1,001 char")
add("json_packed", 16, packed_config(lambda: CLEAN.encode() + b" " * 100_000), "", ANY)
# A text without an end that is full of quotes: a scanner that starts again at each of them takes hours.
add("unclosed_quotes", 16, config_bytes(b'{"a": "' + b'\\"' * 200_000), JSON)

MOST = {"keras_config__hyperparameter": 1_000}
NUMBERS: dict[str, tuple[Config, str]] = {
    "units": (dense("large", 1_001), "units is 1,001"),
    "kernel": (layer("Conv2D", "large", filters=1, kernel_size=[1_001, 1]), r"kernel_size\[0\] is 1,001"),
    "padding": (layer("ZeroPadding2D", "large", padding=[[1_001, 0], [0, 0]]), r"padding\[0\]\[0\] is 1,001"),
    "target_shape": (layer("Reshape", "large", target_shape=[1_001, 1]), "target_shape"),
    "axis": (layer("BatchNormalization", "large", axis=-1_001), "axis is -1,001"),
}
for _name, (_layer, _says) in NUMBERS.items():
    add(f"{_name}_above_the_bound", 17, with_layer(_layer, at=3), _says, **MOST)
add(
    "batch_shape_above_the_bound",
    17,
    with_setting("batch_shape", [None, 1_001, 1, 3], at=0),
    "batch_shape",
    **MOST,
)
# Nonsense that the layer's own constructor refuses.
for _name, _layer in {
    "units_1e308": dense("odd", 1e308),  # type: ignore[arg-type]
    "units_negative": dense("odd", -5),
    "units_zero": dense("odd", 0),
    "units_is_true": dense("odd", True),
    "units_is_text": dense("odd", "200"),  # type: ignore[arg-type]
    "units_is_list": dense("odd", [200]),  # type: ignore[arg-type]
    "momentum_1e308": layer("BatchNormalization", "odd", momentum=1e308, axis=-1),
}.items():
    add(_name, 17, with_layer(_layer, at=3), "", ANY)
add("batch_shape_negative", 17, with_setting("batch_shape", [None, -8, 8, 3], at=0), "", ANY)
add("batch_shape_of_9", 17, with_setting("batch_shape", [1] * 9, at=0), "", ANY)
add("batch_shape_is_text", 17, with_setting("batch_shape", "8,8,3", at=0), "", ANY)


def renamed(name: str) -> Build:
    return with_setting("name", name)


for _name, _text in {
    "path": "../../x",
    "absolute_path": "/no-such-file",
    "windows_path": "..\\..\\x",
    "drive": "C:\\x",
    "url": "file:///no-such-file",
}.items():
    add(f"layer_named_{_name}", 19, renamed(_text), "name")
for _name, _text in {
    "nothing": "",
    "2000_characters": "a" * 2_000,
    "script": "<script>alert(1)</script>",
    "nul": "a\0b",
    "newline": "a\nb",
    "escape": "\x1b[31mred",
    "bidi": "a\u202eb",
    "braces": "{{7*7}}",
    "dots": "..",
    "format": "%s%n{0}",
}.items():
    add(f"layer_named_{_name}", 19, renamed(_text), "", ANY)
add("layer_name_is_number", 19, renamed(7), "name", ANY)  # type: ignore[arg-type]
add("layer_names_twice", 19, with_layer(dense("dense", 16), at=3), "", ANY)


def two_inputs() -> Config:
    layers = [
        clean.node(clean.image_input("one")),
        clean.node(clean.image_input("two")),
        clean.node(layer("Add", "sum"), clean.tensor("one", [8, 8, 3]), clean.tensor("two", [8, 8, 3])),
        clean.node(layer("Flatten", "flatten"), clean.tensor("sum", [8, 8, 3])),
        clean.node(dense("dense", 16), clean.tensor("flatten", [192])),
        clean.node(dense("logits", 4), clean.tensor("dense", [16])),
    ]
    return clean.functional(layers, [["one", 0, 0], ["two", 0, 0]], ["logits", 0, 0])


def two_outputs() -> Config:
    return clean.functional(
        clean.functional_layers(), ["input_layer", 0, 0], [["dense", 0, 0], ["logits", 0, 0]]
    )


def ending(*extra: Config) -> Callable[[], Config]:
    return lambda: clean.sequential([*clean.clean_layers(), *extra])


def one_class() -> Config:
    return clean.sequential([*clean.clean_layers(), layer("Reshape", "column", target_shape=[1, 4])])


SHAPES: dict[str, Callable[[], Config]] = {
    "two_inputs": two_inputs,
    "two_outputs": two_outputs,
    "output_rank_3": ending(layer("Reshape", "shape", target_shape=[2, 2])),
    "output_rank_4": ending(layer("Reshape", "shape", target_shape=[1, 2, 2])),
    "output_rank_1": ending(layer("Reshape", "shape", target_shape=[])),
    "input_rank_2": lambda: clean.sequential([clean.image_input(shape=[192]), *clean.clean_layers()[2:]]),
    "no_layers": lambda: clean.sequential([]),
    "input_only": lambda: clean.sequential([clean.image_input()]),
}
"""Shapes that no classifier has. The scan may leave them to the load, which must refuse them (row 20)."""
for _name, _config in SHAPES.items():
    add(_name, 20, archive(_config), "", ANY)


def truncated_name(folder: Path) -> Path:
    """A clean file whose own name needs care on a terminal."""
    return clean.keras_file(folder / "a\x1b[31m\nb.keras", b"{}")


add("file_named_with_escapes", 19, truncated_name, "")
