"""A stand-in for the tensorrt_rtx module, for the child of its check: it answers as the text in the file says.

It has the names of version 1.7 that the check uses, and no other, so a call of another one fails.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

WARNING, INFO, ERROR = (SimpleNamespace(name=name) for name in ("WARNING", "INFO", "ERROR"))


class Tensor(SimpleNamespace):
    name: str
    shape: tuple[int, ...]


class Layer:
    def __init__(self, kind: str, inputs: list[str], output: str) -> None:
        self.type = SimpleNamespace(name=kind)
        self.inputs, self.output, self.num_outputs = inputs, output, 1

    def get_input(self, index: int) -> Tensor:
        return Tensor(name=self.inputs[index], shape=())

    def get_output(self, index: int) -> Tensor:
        return Tensor(name=self.output, shape=())


class Network:
    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.shape: tuple[int, ...] = (1, 3, 8, 8)
        self.num_inputs = 1

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def get_input(self, index: int) -> Tensor:
        return Tensor(name="image", shape=self.shape)


class Error:
    def node_operator(self) -> str:
        return "MatMulInteger"

    def node_name(self) -> str:
        return ""

    def desc(self) -> str:
        return "false"

    def code(self) -> str:
        return "ErrorCode.UNSUPPORTED_NODE"


class OnnxParser:
    def __init__(self, network: Network, logger: Any) -> None:
        self.network, self.logger, self.num_errors = network, logger, 0

    def parse_from_file(self, path: str) -> bool:
        case = Path(path).read_text()
        self.network.case = case  # type: ignore[attr-defined]
        if case == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if case == "hang":
            time.sleep(60)
        if case == "refused":
            self.num_errors = 1
            return False
        self.logger.log(INFO, "float type")
        if case == "uint8":
            self.logger.log(WARNING, "UINT8 zero_point. Defaulting to INT8 instead.")
        self.network.shape = {"dynamic": (-1, 3, 8, 8), "wide": (-1, 3, -1, 8)}.get(case, (1, 3, 8, 8))
        if case != "float":
            self.network.layers += [
                Layer("QUANTIZE", ["image"], "q"),
                Layer("DEQUANTIZE", ["q"], "dq"),
                Layer("SHUFFLE", ["dq"], "moved"),
                Layer("DEQUANTIZE", ["codes"], "kernel"),
            ]
        self.network.layers.append(Layer("CONVOLUTION", ["moved", "kernel"], "sums"))
        return True

    def get_error(self, index: int) -> Error:
        return Error()


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, usual: Any, high: Any) -> None:
        self.shapes[name] = low, usual, high


class Config:
    def __init__(self) -> None:
        self.num_compute_capabilities, self.profiles = 0, []

    def set_compute_capability(self, capability: str, index: int) -> None:
        assert (capability, index, self.num_compute_capabilities) == ("sm86", 0, 1)

    def add_optimization_profile(self, profile: Profile) -> None:
        self.profiles.append(profile)


class Builder:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> Network:
        assert flags == 2
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Any, config: Config) -> Any:
        if network.case in ("dynamic", "wide"):
            (profile,) = config.profiles
            assert [shape[0] for shape in profile.shapes["image"]] == [1, 8, 32]
        else:
            assert not config.profiles
        return None if network.case == "no engine" else SimpleNamespace(nbytes=10)


MODULE = ModuleType("tensorrt_rtx")
MODULE.__dict__.update(
    __version__="1.7.1",
    ILogger=object,
    Builder=Builder,
    OnnxParser=OnnxParser,
    NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
    ComputeCapability=SimpleNamespace(SM86="sm86"),
)


def build(path: str, target: str, batches: str) -> dict[str, Any]:
    """The function of the real child, which imports this module's stand-in."""
    sys.modules["tensorrt_rtx"] = MODULE
    from safeml.export import tensorrt_rtx_child

    return tensorrt_rtx_child.build(path, target, batches)
