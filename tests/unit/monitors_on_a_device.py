"""The monitors on an interpreter of a device: prints rounded results, which must be equal everywhere. Copied beside the room `carried`."""

import os
import sys
import tempfile

import numpy as np
from carried.buffer import DistanceMonitor, columns_of, fit_columns, fit_reference
from carried.conformal import class_scores, sets, threshold_of
from carried.decisions import evidence_line
from carried.distances import DISTANCES, distance, permutation_p
from carried.errors import MonitorRefused
from carried.estimate import AccuracyEstimator
from carried.fusion import TrackFusion
from carried.inputs import InputChecks, fit_inputs
from carried.reference import Reference
from carried.registry import SCORES, fit_scores, score
from carried.runtime import Monitor
from carried.state import State, load_state, save_state
from carried.streams import pass_tracks, stream_maxima
from carried.thresholds import distance_threshold, score_threshold


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")


def shown(*values):
    say(*[round(float(value), 4) for value in values])


rng = np.random.default_rng(0)
labels = np.arange(300) % 3
features = 2 * np.eye(5)[labels] + rng.normal(0, 0.4, (300, 5))
logits = 3 * features[:, :3] + rng.normal(0, 0.1, (300, 3))
arrays = fit_scores(logits, features, labels, 3, 0)
for name in SCORES:
    shown(*score(name, arrays, logits[:3], features[:3]))
for name in DISTANCES:
    shown(distance(name, np.round(features[:20, 0]), features[20:60, 0])[0])
    shown(*Reference(np.round(features[:20], 1)).distance(name, np.round(features[20:60], 1)))
shown(permutation_p("dts", features[:20, 0], features[20:40, 0], 99, 1))
tracks = np.repeat(np.arange(30), 10)
limit = score_threshold(score("energy", arrays, logits), tracks, 0.1)
shown(limit.value, limit.tracks, limit.needed)
arrays.update(fit_columns(features))
arrays.update(fit_reference(columns_of(arrays, logits, features), logits.argmax(axis=1), 3))


def make():
    return DistanceMonitor(arrays, "wasserstein", np.inf, 8, 2)


far = distance_threshold(stream_maxima(make, logits, features, tracks, 2, 0), 0.2)
passed = pass_tracks(DistanceMonitor(arrays, "wasserstein", far.value, 8, 2), logits, features + 1, tracks)
shown(far.value, passed.first.mean())
estimate = AccuracyEstimator(score("energy", arrays, logits), logits.argmax(axis=1) == labels, 30)
shown(estimate.estimate(score("energy", arrays, logits[:50]), 5).value)
shown(TrackFusion(3).update(1, logits[0]).probability)
pixels = rng.integers(0, 255, (6, 4, 4, 3)).astype(np.uint8)
limits = fit_inputs(pixels, np.arange(6))
say(InputChecks(limits).check(np.zeros((4, 4, 3), np.uint8)))
own = class_scores("lac", logits, np.zeros(300))[np.arange(300), labels]
threshold = threshold_of(own, rng.random(300), 0.1)
shown(sets(class_scores("lac", logits, np.zeros(300)), rng.random((300, 3)), threshold).sum())
settings = {
    "score": "vim",
    "score_threshold": -1e6,
    "inputs": limits,
    "set": list(threshold),
    "distance": {"name": "wasserstein", "threshold": far.value, "window": 8, "least": 2},
}
folder = tempfile.mkdtemp()
saved = save_state(folder, State("m", 3, 5, settings, arrays))
state = load_state(folder, "m", 3, 5)
say(state.fingerprint == saved.fingerprint, sorted(os.listdir(folder)))
monitor = Monitor(state)
for place in range(4):
    answer = monitor.update(logits[place], features[place], 0.1 * place, pixels[place])
    decision = answer.decision._replace(score=None, distance=None)
    say(evidence_line(decision, place, 0.1 * place, "m"), answer.check, answer.classes)
try:
    load_state(folder, "other", 3, 5)
except MonitorRefused as error:
    say("refused", "fit the monitor on this model" in str(error))
