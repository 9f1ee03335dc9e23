#!/usr/bin/env bash
# Claim: Keras' top-k accuracy counts every class that ties with the k-th: a network that answers 0 for all classes has a top-5 accuracy
#   of 100 %. So has a classifier whose softmax is quantised to steps of 1/256, as LiteRT's int8 softmax is: where it is confidently
#   wrong, the true class ties at 0 with all others and counts as one of the five.
# Matters where: an INT8 model is compared with its float model by top-5 accuracy: the quantised one looks better, and a collapsed one perfect.
# Versions: keras 3.15.1, jax 0.10.2, scikit-learn 1.9.1, numpy 2.4.6
# Source: Keras documentation, SparseTopKCategoricalAccuracy; LiteRT 8-bit quantisation specification (the output of SOFTMAX has the scale 1/256)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 scikit-learn==1.9.1 numpy==2.4.6
run <<'PY'
os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
import keras
import numpy as np
from sklearn.metrics import top_k_accuracy_score

versions("keras", "jax", "scikit-learn", "numpy")
N, K = 4300, 43
random = np.random.default_rng(0)
labels = np.arange(N) % K


def top(outputs, k=5):
    metric = keras.metrics.SparseTopKCategoricalAccuracy(k)
    metric.update_state(labels, outputs.astype(np.float32))
    exact = top_k_accuracy_score(labels, outputs, k=k, labels=np.arange(K))
    return round(float(metric.result()), 3), round(float(exact), 3)


dead = top(np.zeros((N, K)))
show("top-5 of a network that answers 0, by Keras and scikit-learn", dead)
same(dead[0] == 1.0 and dead[1] < 0.15, "a dead network has a top-5 accuracy of 100 %")
answers = np.where(random.random(N) < 0.6, labels, random.integers(0, K, N))
logits = random.normal(0, 1, (N, K))
logits[np.arange(N), answers] += 14
softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
real = top(softmax)
quantised = np.clip(np.round(softmax * 256), 0, 255) / 256
steps = top(quantised)
show("top-1 of a classifier, float and quantised", (top(softmax, 1)[0], top(quantised, 1)[0]))
show("top-5 of its softmax in float", real)
show("top-5 of the same in steps of 1/256", steps)
same(real[0] == real[1] < 0.7, "in float both agree")
same(steps[0] > 0.95 and steps[1] < 0.7, "quantised, Keras counts almost every confident error as a top-5 success")
PY
