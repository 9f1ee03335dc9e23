"""The ensemble against the original AutoAttack in torch: the same weights, the same images, one thread each, attack by attack in turn.

    python -m venv FOLDER && FOLDER/bin/pip install numpy torch==2.13.0 pyautoattack==0.2.0
    SAFEML_TORCH=FOLDER/bin/python python benchmarks/autoattack.py [MODEL [COUNT [NORM [EPSILON]]]]   # lenet-gtsrb, 64, linf, 4/255

pyautoattack 0.2.0 is the code of Croce and Hein (2020) as a package; its `standard` version runs APGD-CE, APGD-T, FAB-T and Square
with 5,000 queries. torch is no dependency of safeml: it lives in an environment outside of the tree.

safeml runs the attacks of the adversarial stage at their default settings, and Square once with its default of 1,000 queries and
once with AutoAttack's 5,000, on the same survivors. The processor time of each tool is that of its own process. Of safeml the
compilation of the graphs is measured separately, on 8 images before the race. AutoAttack gets the faster one of two memory
layouts. Counts: `gradients` and `queries` are what the images needed; `forward_images` and `backward_images` are all images that
the network was evaluated on, with padding, idle slots, bisection and predictions. Both sets of adversarial examples are projected and
predicted again by Keras; the record in benchmarks/results/autoattack.json names the images on which the tools differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from attack_cost import ROOT, SHARED, images_of

from safeml.attacks.base import Budget
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ROWS
from safeml.audits.adversarial.campaign import FARTHEST, Campaign
from safeml.audits.adversarial.items import Items
from safeml.audits.base import AuditInputs
from safeml.classifiers.load import load_model
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import right_answers
from safeml.metrics.perturbation import project
from safeml.settings.model import InputSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat

RESULT = Path(__file__).parent / "results" / "autoattack.json"
TARGET = {"more_survivors": 0, "times_less_processor_time": 5.0}
QUERIES = (1000, 5000)  # of Square: the default of the stage, and AutoAttack's
FEW = 8
# AutoAttack's next attack runs before each of these, so that a change of the machine's load meets both tools.
TURNS = ("pgd", "apgd_pm", "apgd_t", "square")
# Layers whose output in inference mode is their input, except for a ReLU.
SAME = ("InputLayer", "Dropout", "ReLU", "Activation")


class Peer:
    """AutoAttack in its process of torch. results: what each of its attacks spent."""

    def __init__(self, python: str, source: Path, target: Path) -> None:
        script = Path(__file__).parent / "autoattack_torch.py"
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [python, str(script), str(source), str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )
        self.results: dict[str, dict[str, Any]] = {}
        self.facts = self._read()
        self.waits = "ready" in self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"AutoAttack ended with exit code {self.process.wait()} and no result.")
        message: dict[str, Any] = json.loads(line)
        return message

    def next(self) -> None:
        """Run the next attack of AutoAttack to its end; nothing where it has no image or no attack left."""
        if not self.waits:
            return
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        ended = self._read()
        self.results[ended.pop("ended")] = ended
        self.waits = "ready" in self._read()


def steps_of(network: Any) -> list[dict[str, Any]]:
    """Return the layers of a Keras network in order: name, kind, names of their inputs ("" is the image), and their settings."""
    layers = []
    for layer in network.layers:
        config = layer.get_config()
        kind = type(layer).__name__
        activation = config.get("activation", "linear")
        if (
            activation not in ("linear", "relu")
            or config.get("data_format", "channels_last") != "channels_last"
        ):
            raise SystemExit(f"{layer.name}: {kind} with {activation} is not carried to torch.")
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        before = [""] if kind == "InputLayer" else [each._keras_history.operation.name for each in given]
        layers.append(
            {
                "name": layer.name,
                "kind": "Same" if kind in SAME else kind,
                "inputs": before,
                "relu": activation == "relu" or kind == "ReLU",
                **{
                    key: config[key]
                    for key in ("strides", "padding", "pool_size", "epsilon")
                    if key in config
                },
            }
        )
    return layers


def weights_of(network: Any) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{number}": np.asarray(weight.numpy(), np.float32)
        for layer in network.layers
        for number, weight in enumerate(layer.weights)
    }


def counted(model: str) -> tuple[Any, Any, Any]:
    """Return a classifier that counts the images on which its network is evaluated, the counter, and the Keras network."""
    [file] = (ROOT / "models" / model).glob("*.keras")
    loaded: Any = load_model(file).model
    counter = tf.Variable(0, dtype=tf.int64)

    def forward(values: Any) -> Any:
        with tf.control_dependencies([counter.assign_add(tf.shape(values, out_type=tf.int64)[0])]):
            return loaded.forward(tf.identity(values))

    names = tuple(str(number) for number in range(43))
    return replace(loaded, forward=forward).fed(InputSettings(), names, model), counter, loaded.network


def safeml_and(
    peer: Peer, classifier: Any, counter: Any, data: ImageDataset, threat: Threat
) -> dict[str, Any]:
    """Run both tools in turn; return what each attack of safeml spent, and the survivors for each number of queries."""
    settings = AdversarialSettings(images=len(data), threats=(threat,), certify=False)
    campaign = Campaign(
        Items.of(AuditInputs(classifier, data), data, settings), settings, threat, lambda *step: None
    )
    clean = campaign.items.clean
    names = [name for name in settings.attacks if threat.norm in ROWS[name].norms]
    began = time.process_time()
    for name in names:
        few = slice(0, FEW)
        within = FARTHEST[threat.norm] if ROWS[name].minimal else threat
        effort = Budget(2, 1, 0, settings.batch if isinstance(settings.batch, int) else 64)
        ATTACKS[name](classifier, clean.images[few], clean.labels[few], within, effort, np.arange(FEW))
    compiling = time.process_time() - began
    by_attack: dict[str, dict[str, Any]] = {}
    survivors: dict[int, np.ndarray] = {}
    for name in names:
        if name in TURNS:
            peer.next()
        before = campaign.survivors(threat)
        for queries in QUERIES if name == "square" else (0,):
            counter.assign(0)
            began = time.process_time()
            if name == "square":
                rows = np.flatnonzero(before)
                left, evaluations = before.copy(), 0
                if len(rows):
                    measured = campaign.items.attacked(name, threat, rows, (queries, 1))
                    left[rows], evaluations = measured.robust, int(measured.evaluations.sum())
                survivors[queries] = left
            else:
                campaign.run((name,))
                left, evaluations = campaign.survivors(threat), campaign.records[-1].evaluations
            by_attack[f"{name} {queries}" if queries else name] = {
                "cpu_seconds": time.process_time() - began,
                ("gradients" if ROWS[name].gradient else "queries"): evaluations,
                "forward_images": int(counter.numpy()),
                "left": int(left.sum()),
            }
    while peer.waits:
        peer.next()
    return {"by_attack": by_attack, "compiling_cpu_seconds": compiling, "survivors": survivors}


def bill(by_attack: dict[str, dict[str, Any]], queries: int) -> dict[str, Any]:
    """Return what a schedule spent in all: every attack, and Square with `queries`."""
    chosen = [
        spent
        for name, spent in by_attack.items()
        if not name.startswith("square ") or name == f"square {queries}"
    ]
    keys = ("cpu_seconds", "gradients", "queries", "forward_images")
    return {key: sum(spent.get(key, 0) for spent in chosen) for key in keys}


def main(model: str, count: int, norm: str, epsilon: str, python: str) -> None:
    if not python or subprocess.run([python, "-c", "import torch, pyautoattack"], check=False).returncode:
        print(
            "skipped: torch and pyautoattack are not there; the head of this script says how to install them"
        )
        return
    if not (SHARED / "data" / "gtsrb" / "test.npz").is_file():
        print("skipped: the test images of GTSRB are not there")
        return
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data = images_of("test", count, 43)
    threat = Threat(norm=norm, epsilon=float(Fraction(epsilon)))
    classifier, counter, network = counted(model)
    pixels = data.images.astype(np.float32) / np.float32(255)
    asked = {"layers": steps_of(network), "norm": norm, "epsilon": threat.epsilon}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "asked.npz", Path(folder) / "attacked.npz"
        np.savez(
            source,
            asked=json.dumps(asked),
            images=pixels,
            labels=data.labels,
            logits=classifier.predict_logits(pixels),
            **weights_of(network),
        )
        peer = Peer(python, source, target)
        ours = safeml_and(peer, classifier, counter, data, threat)
        if peer.process.wait():
            raise SystemExit("AutoAttack failed; its message is above.")
        with np.load(target) as arrays:
            attacked = project(pixels, arrays["attacked"].astype(np.float32), threat)
    theirs = right_answers(classifier.predict_logits(pixels), data.labels) & right_answers(
        classifier.predict_logits(attacked), data.labels
    )
    entry = record_of(data, ours, theirs, peer)
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    record[f"{model}, {count} test images, {threat.label}"] = entry
    RESULT.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")
    print(model, count, threat.label, json.dumps(rounded(entry["against_autoattack"])), flush=True)


def record_of(data: ImageDataset, ours: dict[str, Any], theirs: np.ndarray, peer: Peer) -> dict[str, Any]:
    """Return what both tools left and spent, and the comparison for each number of queries."""
    spent = {
        key: sum(attack[key] for attack in peer.results.values())
        for key in ("cpu_seconds", "forward_images", "backward_images")
    }
    assert data.ids is not None
    compared = {}
    for queries, left in ours["survivors"].items():
        own = bill(ours["by_attack"], queries)
        with_compiling = own["cpu_seconds"] + ours["compiling_cpu_seconds"]
        compared[f"{queries} queries"] = {
            "robust_accuracy": {"safeml": float(left.mean()), "autoattack": float(theirs.mean())},
            "more_survivors": int(left.sum()) - int(theirs.sum()),
            "only_safeml_breaks": data.ids[theirs & ~left].tolist(),
            "only_autoattack_breaks": data.ids[left & ~theirs].tolist(),
            "times_less_processor_time": spent["cpu_seconds"] / own["cpu_seconds"],
            "times_less_with_compiling": spent["cpu_seconds"] / with_compiling,
            "times_fewer_gradients": spent["backward_images"] / own["gradients"],
            "times_fewer_forward_images": spent["forward_images"] / own["forward_images"],
            "safeml": own,
        }
    return {
        "target": TARGET,
        "against_autoattack": compared,
        "autoattack": {**spent, "by_attack": peer.results, **peer.facts},
        "safeml": {"by_attack": ours["by_attack"], "compiling_cpu_seconds": ours["compiling_cpu_seconds"]},
        "threads": 1,
        "tensorflow": tf.__version__,
    }


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        given[0] if given else "lenet-gtsrb",
        int(given[1]) if len(given) > 1 else 64,
        given[2] if len(given) > 2 else "linf",
        given[3] if len(given) > 3 else "4/255",
        os.environ.get("SAFEML_TORCH", ""),
    )
