"""The torch half of `autoattack.py`: the same network from the same weights, and the original AutoAttack on it.

    TORCH_PYTHON benchmarks/autoattack_torch.py INPUT.npz OUTPUT.npz      # started by autoattack.py

INPUT holds `layers` (JSON, see `steps_of` in autoattack.py), the weights by name, images float32 [N, H, W, C], labels, and the
logits of Keras, which torch must give within 1e-4. One JSON line on standard output says that AutoAttack is ready for an attack,
or that it has ended; each attack waits for a line on standard input. AutoAttack itself runs unchanged, in one call.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import torch
    from pyautoattack import AutoAttack
    from torch.nn import functional
except ImportError as missing:
    print(f"skipped: {missing.name} is not installed here; see autoattack.py")
    sys.exit(0)

BATCH, SEED = 64, 7
MOST_DIFFERENCE = 1e-4  # of a logit to Keras
REPEATS = 10
NORMS = {"linf": "Linf", "l2": "L2"}


class Network(torch.nn.Module):
    """A Keras network of convolutions, pooling, batch normalisation, additions and dense layers, in inference mode.

    images of every operation: [N, C, H, W]. `forwards` and `backwards` count images.
    """

    def __init__(self, layers: list[dict[str, Any]], weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.layers = layers
        self.weights = {name: torch.from_numpy(value) for name, value in weights.items()}
        for name, value in self.weights.items():
            if value.ndim == 4:  # height, width, in, out
                self.weights[name] = value.permute(3, 2, 0, 1).contiguous()
        self.forwards = self.backwards = 0

    def use(self, layout: torch.memory_format) -> None:
        for name, value in self.weights.items():
            if value.ndim == 4:
                self.weights[name] = value.contiguous(memory_format=layout)
        self.layout = layout

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.forwards += len(images)
        values = {"": images.contiguous(memory_format=self.layout)}
        for layer in self.layers:
            last = OPERATIONS[layer["kind"]](layer, [values[name] for name in layer["inputs"]], self.weights)
            values[layer["name"]] = functional.relu(last) if layer["relu"] else last
        if last.requires_grad:
            last.register_hook(self._count)
        # AutoAttack writes into the logits that it is given.
        return last.clone()

    def _count(self, gradient: torch.Tensor) -> None:
        self.backwards += len(gradient)


def convolution(layer: dict[str, Any], inputs: list[torch.Tensor], weights: Any) -> torch.Tensor:
    [images] = inputs
    kernel, bias = weights[layer["name"] + "/0"], weights.get(layer["name"] + "/1")
    if layer["padding"] == "same":
        vertical, horizontal = (
            same(images.shape[2 + axis], kernel.shape[2 + axis], layer["strides"][axis]) for axis in (0, 1)
        )
        images = functional.pad(images, (*horizontal, *vertical))
    return functional.conv2d(images, kernel, bias, tuple(layer["strides"]))


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after of Keras' "same": the odd pixel comes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def normalisation(layer: dict[str, Any], inputs: list[torch.Tensor], weights: Any) -> torch.Tensor:
    gamma, beta, mean, variance = (weights[f"{layer['name']}/{part}"] for part in range(4))
    return functional.batch_norm(inputs[0], mean, variance, gamma, beta, False, 0.0, layer["epsilon"])


def dense(layer: dict[str, Any], inputs: list[torch.Tensor], weights: Any) -> torch.Tensor:
    return inputs[0] @ weights[layer["name"] + "/0"] + weights[layer["name"] + "/1"]


OPERATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "Conv2D": convolution,
    "BatchNormalization": normalisation,
    "Dense": dense,
    "MaxPooling2D": lambda layer, inputs, weights: functional.max_pool2d(
        inputs[0], tuple(layer["pool_size"]), tuple(layer["strides"])
    ),
    "GlobalAveragePooling2D": lambda layer, inputs, weights: inputs[0].mean(dim=(2, 3)),
    # Keras flattens height, width, channels.
    "Flatten": lambda layer, inputs, weights: inputs[0].permute(0, 2, 3, 1).flatten(1),
    "Add": lambda layer, inputs, weights: inputs[0] + inputs[1],
    "Same": lambda layer, inputs, weights: inputs[0],
}


class Pauses(logging.Handler):
    """Stops AutoAttack before each attack until a line arrives, and measures what it spends until the next one."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.attack = network, ""
        self.began, self.forwards, self.backwards = 0.0, 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if words.startswith("running "):
            self.end()
            self.attack = words.removeprefix("running ")
            tell({"ready": self.attack})
            sys.stdin.readline()
            self.began, self.forwards, self.backwards = (
                time.process_time(),
                self.network.forwards,
                self.network.backwards,
            )
        elif words.startswith("robust accuracy after "):
            self.end()

    def end(self) -> None:
        if self.attack:
            tell(
                {
                    "ended": self.attack,
                    "cpu_seconds": time.process_time() - self.began,
                    "forward_images": self.network.forwards - self.forwards,
                    "backward_images": self.network.backwards - self.backwards,
                }
            )
        self.attack = ""


def tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def gradient_seconds(network: Network, images: torch.Tensor, layout: torch.memory_format) -> float:
    """Return the processor seconds of a few gradients of one batch in a memory layout."""
    network.use(layout)
    taken = []
    for _ in range(REPEATS):
        pixels = images[:BATCH].clone().requires_grad_()
        began = time.process_time()
        torch.autograd.grad(network(pixels).sum(), [pixels])
        taken.append(time.process_time() - began)
    return min(taken)


def main(source: str, target: str) -> None:
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    with np.load(source) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    asked = json.loads(str(given.pop("asked")))
    images = torch.from_numpy(given.pop("images")).permute(0, 3, 1, 2).contiguous()
    labels, logits = torch.from_numpy(given.pop("labels")), torch.from_numpy(given.pop("logits"))
    network = Network(asked["layers"], given).eval()
    layouts = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    seconds = {name: gradient_seconds(network, images, layout) for name, layout in layouts.items()}
    layout = min(seconds, key=lambda name: seconds[name])
    network.use(layouts[layout])
    with torch.no_grad():
        difference = float((network(images) - logits).abs().max())
    if not difference <= MOST_DIFFERENCE:
        sys.exit(
            f"torch: a logit differs from Keras by {difference:.2g}; expected at most {MOST_DIFFERENCE}."
        )
    tell(
        {
            "logits_differ_by": difference,
            "layout": layout,
            "gradient_seconds": seconds,
            "torch": torch.__version__,
        }
    )
    logger = logging.getLogger("auto-attack")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    pauses = Pauses(network)
    logger.addHandler(pauses)
    attack = AutoAttack(
        network, norm=NORMS[asked["norm"]], eps=asked["epsilon"], seed=SEED, version="standard"
    )
    attacked, _ = attack.run_standard_evaluation(images, labels, batch_size=BATCH)
    pauses.end()
    np.savez(target, attacked=attacked.permute(0, 2, 3, 1).contiguous().numpy())
    tell({"done": True})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(sys.argv[1], sys.argv[2])
    else:
        print("skipped: this is the torch half of autoattack.py, which starts it")
