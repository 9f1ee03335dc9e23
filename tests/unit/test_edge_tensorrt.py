"""Builder and runner on the published API of TensorRT 8.2, 8.6, 10.3, 10.16 and 11.4: a name that a version lacks raises AttributeError."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml.edge.backends import cuda_memory, opening, trt_common
from safeml.edge.backends.cuda_memory import CtypesMemory, CudaPythonMemory
from safeml.edge.backends.plan import TABLE, Plan, make_plan, row_of
from safeml.edge.backends.tensorrt import TensorRtBackend
from safeml.edge.build import Job, Limits, run_builder
from safeml.edge.errors import EdgeError
from safeml.edge.facts import DeviceFacts
from tests.edge_slots import images, make_slot, model_bytes, outputs
from tests.fake_cuda import FakeCuda
from tests.fake_tensorrt import API, MARK, make

pytestmark = pytest.mark.slow

VERSIONS = tuple(API)
MODELS = ("float", "int8", "int8-fp16")
FLAGS = {
    "8.2": ["FP16", "INT8"],
    "8.6": ["FP16", "INT8"],
    "10.3": ["FP16", "INT8"],
    "10.16": ["FP16", "INT8"],
    "11.4": [],
}
ADAPTERS = {"8.2": "trt_bindings", "8.6": "trt_names", "10.3": "trt_10", "10.16": "trt_10", "11.4": "trt_11"}


@pytest.fixture(autouse=True)
def _no_module() -> Iterator[None]:
    """A fake that a test installs is gone after it."""
    before = sys.modules.pop("tensorrt", None)
    yield
    sys.modules.pop("tensorrt", None)
    if before is not None:
        sys.modules["tensorrt"] = before


def built(
    trt: ModuleType, plan: Plan, folder: Path, batches: tuple[int, ...] = (1, 1, 8)
) -> tuple[bytes, Any]:
    path = folder / "model.onnx"
    path.write_bytes(model_bytes())
    return trt_common.build_engine(trt, plan, str(path), batches, 64 << 20, [])


def values(count: int) -> np.ndarray:
    return images(count).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_built_with_what_the_version_has_and_computes_the_model(
    version: str, tmp_path: Path
) -> None:
    trt = make(version)
    plan = make_plan(trt.__version__, "8.7", MODELS)
    assert plan.adapter == ADAPTERS[version]
    assert plan.model == ("int8-fp16" if version == "11.4" else "int8")
    data, record = built(trt, plan, tmp_path)
    assert json.loads(data[len(MARK) :].split(b"\n")[0])["flags"] == FLAGS[version]
    assert record["layers"] == {"Int8" if FLAGS[version] else "FP32": 2}

    cuda = FakeCuda()
    backend = TensorRtBackend(data, plan, 8, {}, trt, lambda: CtypesMemory(cuda))
    # One image, a full batch, and more than a batch, in parts.
    for count in (1, 8, 19):
        logits, features = backend.infer(values(count))
        expected = outputs(values(count))
        np.testing.assert_allclose(logits, expected[0], atol=1e-5)
        assert features is not None
        np.testing.assert_allclose(features, expected[1], atol=1e-5)
    backend.close()
    backend.close()
    assert not cuda.held
    assert not cuda.stream_open


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_lacks_what_later_ones_removed_or_added(version: str) -> None:
    """The fakes are worth something only while they refuse."""
    trt = make(version)
    config = trt.IBuilderConfig()
    old, eleven = version == "8.2", version == "11.4"
    assert hasattr(config, "max_workspace_size") == version.startswith("8.")
    assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") != eleven
    assert hasattr(trt.BuilderFlag, "INT8") != eleven
    assert hasattr(trt, "TensorIOMode") != old
    with pytest.raises(AttributeError):
        config.set_memory_limit = 1
    if not old:
        assert callable(config.set_memory_pool_limit)
    if version.startswith(("10", "11")):
        with pytest.raises(AttributeError):
            config.max_workspace_size = 1


@pytest.mark.parametrize("version", ["8.2", "8.6", "10.3"])
@pytest.mark.parametrize("capability", ["5.3", "6.2"])
def test_a_gpu_without_fast_int8_gets_the_float_model_in_fp16_and_says_so(
    version: str, capability: str
) -> None:
    plan = make_plan(make(version).__version__, capability, MODELS)
    assert (plan.model, plan.flags) == ("float", ("FP16",))
    assert capability in plan.note
    assert "no fast INT8" in plan.note


def test_a_bundle_without_the_file_for_the_device_is_named() -> None:
    with pytest.raises(EdgeError, match=r"no fast INT8.*has no float file; it has int8"):
        make_plan("8.2.1", "5.3", ("int8",))
    with pytest.raises(EdgeError, match="no FP16 flag"):
        make_plan("11.4.1", "5.3", MODELS)
    assert "float32" in make_plan("11.4.1", "8.7", ("int8",)).note


@pytest.mark.parametrize("version", ["7.1.3", "9.3.0", "12.0.0", "unknown"])
def test_an_unknown_tensorrt_is_refused(version: str) -> None:
    with pytest.raises(EdgeError, match="TensorRT"):
        row_of(version)


def test_the_table_covers_each_version_once() -> None:
    for before, after in pairwise(TABLE):
        assert before.least < before.below <= after.least < after.below


def test_tensorrt_8_0_has_no_inspector_and_its_plan_asks_for_none() -> None:
    assert not make_plan("8.0.1", "7.2", MODELS).inspector
    assert make_plan("8.2.1", "7.2", MODELS).inspector


def test_a_static_batch_is_filled_up(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(model_bytes())
    for one in [*model.graph.input, *model.graph.output]:
        side = one.type.tensor_type.shape.dim[0]
        side.Clear()
        side.dim_value = 2
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    trt = make("10.3")
    plan = make_plan("10.3.0", "8.7", MODELS)
    data, _ = trt_common.build_engine(trt, plan, str(path), (1, 1, 8), 1 << 20, [])
    backend = TensorRtBackend(data, plan, 8, {}, trt, lambda: CtypesMemory(FakeCuda()))
    assert backend.details["batch"] == 2
    logits, _ = backend.infer(values(5))
    np.testing.assert_allclose(logits, outputs(values(5))[0], atol=1e-5)


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_an_error_of_cuda_is_one_sentence_with_its_number(call: str, tmp_path: Path) -> None:
    trt, plan = make("8.6"), make_plan("8.6.2", "8.7", MODELS)
    data, _ = built(trt, plan, tmp_path)
    with pytest.raises(EdgeError, match=f"{call} failed with CUDA error 700 .an illegal memory access"):
        TensorRtBackend(data, plan, 8, {}, trt, lambda: CtypesMemory(FakeCuda(call))).infer(values(1))


def test_cuda_python_is_driven_as_ctypes_is() -> None:
    """cuda-python returns tuples with the status first."""
    cuda = FakeCuda()

    def call(name: str, *arguments: Any) -> Any:
        import ctypes

        if name in ("cudaMalloc", "cudaStreamCreate"):
            pointer = ctypes.c_void_p()
            status = getattr(cuda, name)(ctypes.byref(pointer), *[ctypes.c_size_t(one) for one in arguments])
            return status, pointer.value
        if name == "cudaMemcpyAsync":
            target, source, size, kind, stream = arguments
            code = {"to device": 1, "to host": 2}[kind]
            packed = [
                ctypes.c_void_p(target),
                ctypes.c_void_p(source),
                ctypes.c_size_t(size),
                code,
                ctypes.c_void_p(stream),
            ]
            return (cuda.cudaMemcpyAsync(*packed),)  # type: ignore[attr-defined]
        return (getattr(cuda, name)(*[ctypes.c_void_p(one) for one in arguments]),)

    names = (
        "cudaMalloc",
        "cudaFree",
        "cudaMemcpyAsync",
        "cudaStreamCreate",
        "cudaStreamSynchronize",
        "cudaStreamDestroy",
    )
    kinds = SimpleNamespace(cudaMemcpyHostToDevice="to device", cudaMemcpyDeviceToHost="to host")
    runtime = SimpleNamespace(
        cudaMemcpyKind=kinds, **{name: lambda *a, name=name: call(name, *a) for name in names}
    )
    memory = CudaPythonMemory(runtime)
    sent = np.arange(6, dtype=np.float32)
    back = np.zeros_like(sent)
    address = memory.allocate(sent.nbytes)
    memory.upload(address, sent)
    memory.download(back, address)
    memory.synchronize()
    assert (back == sent).all()
    memory.close()
    assert not cuda.held


def test_there_is_no_cuda_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "LIBRARIES", ())
    monkeypatch.setattr(cuda_memory, "FOLDERS", "/nowhere/*")
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(EdgeError, match="neither cuda-python nor libcudart"):
        cuda_memory.open_memory()


def test_an_import_that_fails_for_the_dla_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise ImportError("libnvdla_compiler.so: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(trt_common.importlib, "import_module", fails)
    with pytest.raises(EdgeError, match=r"libnvdla_compiler\.so is missing"):
        trt_common.import_tensorrt()


class Device:
    """A device with a fake TensorRT that its child processes import too."""

    def __init__(self, folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        place = folder / "packages"
        place.mkdir()
        (place / "tensorrt.py").write_text(
            f"import sys\nfrom tests.fake_tensorrt import make\nsys.modules['tensorrt'] = make({version!r})\n"
        )
        monkeypatch.syspath_prepend(str(place))
        self.case = folder / "case"
        monkeypatch.setenv("SAFEML_FAKE_TENSORRT", str(self.case))
        self.cuda = FakeCuda()
        monkeypatch.setattr("safeml.edge.backends.tensorrt.open_memory", lambda: CtypesMemory(self.cuda))
        self.slot = make_slot(folder, backend="tensorrt")
        self.facts = DeviceFacts(
            compute_capability="8.7", device_name="Jetson Orin Nano", cuda="12.6", l4t="36.4.3"
        )

    def open(self, **changes: Any) -> Any:
        slot = self.slot
        return opening.open_backend(
            str(slot.folder), slot.verified.manifest, slot.settings, self.facts, **changes
        )

    @property
    def cache(self) -> Path:
        return Path(self.slot.settings.root) / "engines"


@pytest.mark.parametrize("version", ["8.2", "11.4"])
def test_the_engine_is_built_once_in_a_child_and_then_authenticated(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path, version, monkeypatch)
    first = device.open()
    assert first.details["engine"] == "built"
    assert first.details["rebuilt_because"] == "absent"
    assert first.details["tensorrt"] == make(version).__version__
    np.testing.assert_allclose(first.infer(values(3))[0], outputs(values(3))[0], atol=1e-5)
    first.close()
    second = device.open()
    assert second.details["engine"] == "cached"
    assert second.details["layers"] == first.details["layers"]
    second.close()
    assert (device.cache / "engine.key").stat().st_mode & 0o777 == 0o600


def test_a_changed_engine_is_never_loaded_but_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path, "10.3", monkeypatch)
    device.open().close()
    (engine,) = device.cache.glob("*.engine")
    good = engine.read_bytes()

    def again() -> str:
        backend = device.open()
        backend.close()
        assert engine.read_bytes() == good
        return str(backend.details.get("rebuilt_because", "not rebuilt"))

    assert again() == "not rebuilt"
    for place in (0, len(good) // 2, len(good) - 1):
        engine.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert again() == "changed"
    engine.write_bytes(b"")
    assert again() == "wrong-length"
    engine.unlink()
    engine.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(good)
    assert again() == "wrong-length"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("refuse", "does not read the ONNX file: Assertion failed"),
        ("no-engine", "could not find any implementation"),
        ("hang", "longer than 2 s"),
        ("die", "SIGKILL, as when memory runs out"),
        ("grow", "more than 400 MB"),
    ],
)
def test_a_build_that_fails_is_one_sentence_with_its_reason(
    case: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path, "10.3", monkeypatch)
    device.case.write_text(case)
    limits = Limits(seconds=2 if case == "hang" else 60, memory_mb=400)
    with pytest.raises(EdgeError, match=words) as caught:
        device.open(limits=limits)
    assert "build.log" in caught.value.message
    assert not list(device.cache.glob("*.engine"))
    assert not list(device.cache.glob("*.new*"))


def test_an_address_space_limit_ends_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(tmp_path, "8.6", monkeypatch)
    with pytest.raises(EdgeError, match="no engine was built"):
        device.open(limits=Limits(address_space_mb=60))


def test_a_builder_that_does_not_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    job = Job(str(tmp_path / "model.onnx"), str(tmp_path / "x"), {}, (1, 1, 1))
    with pytest.raises(EdgeError, match="the builder did not start"):
        run_builder(job, Limits(), str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["trt_10", "trt_11"])
def test_the_real_tensorrt_for_rtx_takes_the_calls_of_the_builder(adapter: str, tmp_path: Path) -> None:
    """It builds ahead of time without a GPU, for one named GPU, and its networks must be strongly typed."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed (extra trt)")

    class Builder(rtx.Builder):  # type: ignore[misc]
        def create_builder_config(self) -> Any:
            config = super().create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
            return config

        def create_network(self, flags: int = 0) -> Any:
            return super().create_network(flags | 1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    module = ModuleType("tensorrt")
    module.__dict__.update({name: getattr(rtx, name) for name in dir(rtx) if not name.startswith("__")})
    module.Builder = Builder  # type: ignore[attr-defined]
    # Loading an engine needs a GPU, so its layers are not read.
    data, record = built(module, Plan("int8", adapter, (), "", False), tmp_path)
    assert record["engine_bytes"] == len(data) > 0
