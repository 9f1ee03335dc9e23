"""TensorRT: an engine that was built on this device, with buffers of a fixed largest batch. Legend: N images."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ..errors import EdgeError
from .base import Backend, split_outputs
from .cuda_memory import CudaMemory, open_memory
from .plan import Plan
from .trt_common import Tensor, adapter_of, deserialize, import_tensorrt, make_logger


class TensorRtBackend(Backend):
    """Runs an engine.

    data: authenticated bytes of an engine from the cache of this device, and nothing else: an engine is code.
    plan: with which it was built. batch: largest number of images of one call; more are sent in parts.
    memory: gives the buffers; by default the first GPU.
    """

    name = "tensorrt"

    def __init__(
        self,
        data: bytes,
        plan: Plan,
        batch: int,
        details: Dict[str, Any],
        trt: Optional[Any] = None,
        memory: Optional[Callable[[], CudaMemory]] = None,
    ) -> None:
        module = trt if trt is not None else import_tensorrt()
        self.batch = batch
        self.lines: List[str] = []
        self.adapter = adapter_of(plan)
        self.runtime, self.engine = deserialize(module, make_logger(module, self.lines), data, self.lines)
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise EdgeError("TensorRT gives no execution context; the GPU has too little memory.")
        self.tensors: List[Tensor] = self.adapter.tensors(module, self.engine)
        inputs = [tensor for tensor in self.tensors if tensor.is_input]
        names = [tensor.name for tensor in self.tensors if not tensor.is_input]
        if len(inputs) != 1 or "logits" not in names:
            raise EdgeError(
                "the engine has {} inputs and the outputs {}; expected one input, and an output named logits.".format(
                    len(inputs), ", ".join(names)
                )
            )
        self.input = inputs[0]
        if self.input.shape[0] > 0:
            self.batch = self.input.shape[0]
        self.memory = (memory or open_memory)()
        self.buffers = {
            tensor.name: self.memory.allocate(self._host(tensor, self.batch).nbytes)
            for tensor in self.tensors
        }
        Backend.__init__(self, plan.model, dict(details, cuda=self.memory.name, batch=self.batch))

    def infer(self, values: np.ndarray) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """See `Backend.infer`."""
        parts = [self._run(values[start : start + self.batch]) for start in range(0, len(values), self.batch)]
        names = tuple(sorted(parts[0]))
        return split_outputs(names, tuple(np.concatenate([part[name] for part in parts]) for name in names))

    def close(self) -> None:
        """See `Backend.close`."""
        self.memory.close()
        self.context = self.engine = self.runtime = None

    def _run(self, values: np.ndarray) -> Dict[str, np.ndarray]:
        count = len(values)
        # A static batch is filled up; a dynamic one takes any number.
        size = self.batch if self.input.shape[0] > 0 else count
        fed = np.zeros((size, *values.shape[1:]), self.input.dtype)
        fed[:count] = values
        if self.input.shape[0] < 0 and not self.adapter.set_shape(
            self.context, self.engine, self.input.name, fed.shape
        ):
            raise EdgeError(f"the engine does not take the shape {list(fed.shape)}.")
        self.memory.upload(self.buffers[self.input.name], fed)
        if not self.adapter.execute(
            self.context, self.engine, sorted(self.buffers.items()), self.memory.stream
        ):
            raise EdgeError(
                "TensorRT did not run the engine: {}".format(
                    self.lines[-1] if self.lines else "no reason given"
                )
            )
        outputs = {tensor.name: self._host(tensor, size) for tensor in self.tensors if not tensor.is_input}
        for name, array in outputs.items():
            self.memory.download(array, self.buffers[name])
        self.memory.synchronize()
        return {name: array[:count] for name, array in outputs.items()}

    @staticmethod
    def _host(tensor: Tensor, size: int) -> np.ndarray:
        return np.empty((size, *tuple(tensor.shape[1:])), tensor.dtype)
