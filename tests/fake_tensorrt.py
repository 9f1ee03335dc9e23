"""Stand-ins for `tensorrt` of five versions, from the names of their published API in tensorrt_api.json.

A name that a version does not have raises AttributeError, as it does there. An engine holds the ONNX file and is run by ONNX Runtime on
memory that `FakeCuda` hands out, so that a wrong address, shape or order of bindings gives wrong numbers and not a green test. What a
test wants to go wrong is written into the file named by SAFEML_FAKE_TENSORRT: "refuse", "no-engine", "hang", "grow" or "die".
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

API = json.loads((Path(__file__).with_name("tensorrt_api.json")).read_text())["versions"]
MARK = b"FAKE ENGINE "
FULL_VERSIONS = {"8.2": "8.2.1.8", "8.6": "8.6.2", "10.3": "10.3.0", "10.16": "10.16.1", "11.4": "11.4.1"}
# What an inspector says of an engine that was built with these flags.
FORMATS = {
    "INT8": "Row major Int8 format",
    "FP16": "Row major linear FP16 format",
    "": "Row major linear FP32",
}


def names(version: str) -> dict[str, list[str]]:
    """Return the names of a version by class."""
    entry = dict(API[version])
    return {**names(entry.pop("like")), **entry} if "like" in entry else entry


def make(version: str) -> ModuleType:
    """Return the module of a version."""
    known = names(version)
    module = ModuleType("tensorrt")
    module.__version__ = FULL_VERSIONS[version]  # type: ignore[attr-defined]
    for name in known["module"]:
        members = known.get(name)
        if members and members[0].isupper():
            value: Any = IntEnum(name, {member: place for place, member in enumerate(members)})
        elif name in IMPLEMENTED:
            value = _limited(IMPLEMENTED[name], frozenset(members or ()), module)
        else:
            value = getattr(sys.modules[__name__], "_" + name, None)
        if value is not None:
            setattr(module, name, value)
    return module


def _limited(base: type, members: frozenset[str], module: ModuleType) -> type:
    """Return a class whose instances have these public names alone, as an object of pybind11 has."""

    class Limited(base):  # type: ignore[misc]
        trt = module

        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("_") and name != "trt" and name not in members:
                raise AttributeError(f"{base.__name__.lstrip('_')} of {module.__version__} has no {name}")
            return super().__getattribute__(name)

        def __getattr__(self, name: str) -> Any:
            if name not in members:
                raise AttributeError(f"{base.__name__.lstrip('_')} of {module.__version__} has no {name}")
            raise NotImplementedError(f"{name} exists in TensorRT {module.__version__}; the fake lacks it")

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_") and name not in members:
                raise AttributeError(f"{base.__name__.lstrip('_')} of {module.__version__} has no {name}")
            super().__setattr__(name, value)

    Limited.__name__ = base.__name__.lstrip("_")
    return Limited


class _ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        self.started = True


class _Tensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class _Network:
    def __init__(self, flags: int) -> None:
        self._flags, self._onnx, self._inputs, self._outputs = flags, b"", [], []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> _Tensor:
        return self._inputs[index]


class _Builder:
    trt: Any

    def __init__(self, logger: Any) -> None:
        assert logger.started
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        major = int(self.trt.__version__.split(".")[0])
        # Without an explicit batch TensorRT 8 makes a network that its ONNX parser refuses.
        assert major >= 10 or flags == 1, flags
        return self.trt.INetworkDefinition(flags)

    def create_builder_config(self) -> Any:
        return self.trt.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self.trt.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        case = _case()
        if case == "no-engine":
            self._logger.log(_ILogger.ERROR, "could not find any implementation for node conv1")
            return None
        if case == "hang":
            time.sleep(60)
        if case == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if case == "grow":
            held = []
            while True:
                held.append(b"x" * (16 << 20))
                time.sleep(0.01)
        if any(side < 0 for tensor in network._inputs for side in tensor.shape):
            assert config._profiles, "a dynamic shape needs a profile"
        assert config._workspace > 0, "the workspace has no bound"
        head = {
            "version": self.trt.__version__,
            "flags": sorted(flag.name for flag in config._flags),
            "profiles": [profile._shapes for profile in config._profiles],
        }
        return MARK + json.dumps(head).encode() + b"\n" + network._onnx


class _Config:
    def __init__(self) -> None:
        self._flags: set[Any] = set()
        self._profiles: list[Any] = []
        self._workspace = 0

    @property
    def max_workspace_size(self) -> int:
        return self._workspace

    @max_workspace_size.setter
    def max_workspace_size(self, size: int) -> None:
        self._workspace = size

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert pool.name == "WORKSPACE"
        self._workspace = size

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1


class _Profile:
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self._shapes[name] = [list(least), list(usual), list(most)]


class _Parser:
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._errors = network, []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def parse(self, data: bytes) -> bool:
        import onnx

        if _case() == "refuse":
            self._errors.append(_Error())
            return False
        graph = onnx.load_model_from_string(data).graph
        for one in graph.input:
            sides = tuple(side.dim_value or -1 for side in one.type.tensor_type.shape.dim)
            self._network._inputs.append(_Tensor(one.name, sides))
        self._network._onnx = data
        return True


class _Error:
    def desc(self) -> str:
        return "Assertion failed: scale is not positive"


class _Runtime:
    trt: Any

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        if not data.startswith(MARK):
            self._logger.log(_ILogger.ERROR, "the engine plan is not compatible")
            return None
        head, _, onnx = data[len(MARK) :].partition(b"\n")
        described = json.loads(head)
        if described["version"] != self.trt.__version__:
            self._logger.log(_ILogger.ERROR, f"expecting library version {self.trt.__version__}")
            return None
        return self.trt.ICudaEngine(described, onnx)


class _Engine:
    trt: Any

    def __init__(self, head: dict[str, Any], onnx: bytes) -> None:
        import onnxruntime

        self._head = head
        self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        # Outputs first: an index is not the order in which the model lists its tensors.
        self._tensors = [(one.name, False, self._shape(one)) for one in self._session.get_outputs()]
        self._tensors += [(one.name, True, self._shape(one)) for one in self._session.get_inputs()]

    @staticmethod
    def _shape(one: Any) -> tuple[int, ...]:
        return tuple(side if isinstance(side, int) else -1 for side in one.shape)

    def _entry(self, key: Any) -> Any:
        return (
            self._tensors[key]
            if isinstance(key, int)
            else next(one for one in self._tensors if one[0] == key)
        )

    @property
    def num_bindings(self) -> int:
        return len(self._tensors)

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_binding_name(self, index: int) -> str:
        return str(self._tensors[index][0])

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index][0])

    def get_binding_index(self, name: str) -> int:
        return [one[0] for one in self._tensors].index(name)

    def binding_is_input(self, index: int) -> bool:
        return bool(self._entry(index)[1])

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.trt.TensorIOMode
        return modes.INPUT if self._entry(name)[1] else modes.OUTPUT

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return tuple(self._entry(index)[2])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._entry(name)[2])

    def get_binding_dtype(self, index: int) -> Any:
        return self.trt.DataType.FLOAT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType.FLOAT

    def create_execution_context(self) -> Any:
        return self.trt.IExecutionContext(self)

    def create_engine_inspector(self) -> Any:
        return self.trt.EngineInspector(self)


class _Inspector:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def get_engine_information(self, form: Any) -> str:
        assert form.name == "JSON"
        flags = self._engine._head["flags"]
        words = FORMATS["INT8" if "INT8" in flags else "FP16" if "FP16" in flags else ""]
        outputs = [{"Name": "x", "Format/Datatype": words}]
        return json.dumps(
            {"Layers": [{"Name": "conv", "Outputs": outputs}, {"Name": "fc", "Outputs": outputs}]}
        )


class _Context:
    trt: Any

    def __init__(self, engine: Any) -> None:
        self._engine, self._shapes, self._addresses = engine, {}, {}

    def set_binding_shape(self, index: int, shape: Any) -> bool:
        return self._take_shape(self._engine._tensors[index][0], shape)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        return self._take_shape(name, shape)

    def _take_shape(self, name: str, shape: Any) -> bool:
        for profile in self._engine._head["profiles"]:
            least, _, most = profile[name]
            if not all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True)):
                return False
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v2(self, bindings: Any, stream_handle: int, input_consumed: Any = None) -> bool:
        table = {name: bindings[place] for place, (name, _, _) in enumerate(self._engine._tensors)}
        return self._run(table, stream_handle)

    def execute_async_v3(self, stream_handle: int) -> bool:
        return self._run(self._addresses, stream_handle)

    def _run(self, addresses: dict[str, int], stream: int) -> bool:
        assert stream, "there is no stream"
        session = self._engine._session
        (one,) = session.get_inputs()
        shape = self._shapes.get(one.name, tuple(one.shape))
        fed = _array(addresses[one.name], shape)
        for output, value in zip(session.get_outputs(), session.run(None, {one.name: fed}), strict=True):
            ctypes.memmove(addresses[output.name], value.ctypes.data, value.nbytes)
        return True


def _array(address: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    return np.array((ctypes.c_float * count).from_address(address), np.float32).reshape(shape)


def _case() -> str:
    path = os.environ.get("SAFEML_FAKE_TENSORRT", "")
    return Path(path).read_text() if path and os.path.exists(path) else ""


def _nptype(dtype: Any) -> Any:
    raise AssertionError(
        "nptype fails for types that NumPy does not have; the runtime has a table of its types"
    )


IMPLEMENTED = {
    "Builder": _Builder,
    "IBuilderConfig": _Config,
    "INetworkDefinition": _Network,
    "IOptimizationProfile": _Profile,
    "OnnxParser": _Parser,
    "Runtime": _Runtime,
    "ICudaEngine": _Engine,
    "IExecutionContext": _Context,
    "EngineInspector": _Inspector,
}
