"""ONNX Runtime on the processor: the host emulation of a device, and the last choice on a device without TensorRT."""

import os
from typing import Any, Optional, Tuple

import numpy as np

from ..errors import EdgeError
from .base import Backend


class OnnxRuntimeBackend(Backend):
    """Runs the ONNX file of the bundle.

    All optimizations are on, except those that fuse quantizers with their neighbours: they round elsewhere than the file says, and the
    file is what was audited.
    """

    name = "onnxruntime"

    def __init__(self, folder: str, manifest: Any, precision: str = "int8", threads: int = 0) -> None:
        runtime = load_onnxruntime()
        if runtime is None:
            raise EdgeError(
                "onnxruntime is not installed; install it, or set another backend in the device settings."
            )
        file = manifest.models[precision].path
        path = os.path.join(folder, file)
        try:
            self.session = runtime.InferenceSession(
                path, session_options(runtime, threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise EdgeError(
                f"{file}: ONNX Runtime {runtime.__version__} does not load it ({_first_line(error)}); install the bundle again or update ONNX Runtime."
            ) from None
        Backend.__init__(self, precision, {"onnxruntime": str(runtime.__version__), "file": file})
        have = [one.name for one in self.session.get_outputs()]
        self.outputs = tuple(name for name in ("logits", "features") if name in have)
        self.input = self.session.get_inputs()[0].name
        if "logits" not in self.outputs:
            raise EdgeError("{}: gives {}; expected an output named logits.".format(file, ", ".join(have)))

    def infer(self, values: np.ndarray) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """See `Backend.infer`."""
        outputs = self.session.run(self.outputs, {self.input: values})
        features = np.asarray(outputs[1], np.float32) if len(outputs) > 1 else None
        return np.asarray(outputs[0], np.float32), features

    def close(self) -> None:
        """See `Backend.close`."""
        self.session = None


def session_options(runtime: Any, threads: int) -> Any:
    """Return the options of a deployed session. threads: 0 for as many as ONNX Runtime chooses."""
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = int(threads)
    return options


def load_onnxruntime() -> Optional[Any]:
    """Return the module, or None where it is not installed or does not load."""
    try:
        import onnxruntime
    except ImportError:
        return None
    return onnxruntime


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
