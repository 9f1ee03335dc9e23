#!/usr/bin/env bash
# Claim: keras.distillation.LogitsDistillation() and LogitsDistillation(loss="kl_divergence") take no softmax: the divergence is computed on
#   the logits themselves, clipped to 0..1, without the factor of the squared temperature. With loss=keras.losses.KLDivergence() it
#   is the distillation loss of the documentation. A student that agrees with its teacher in sign alone has almost no loss.
# Matters where: a student is distilled with the default of Keras; it trains, without an error, towards something else than its teacher.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6
# Source: Keras API documentation, LogitsDistillation ("applies temperature scaling to the teacher's logits", default 'kl_divergence');
#   G. Hinton, O. Vinyals, J. Dean, Distilling the knowledge in a neural network, 2015
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 numpy==2.4.6
run <<'PY'
os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
import keras
import numpy as np

versions("keras", "jax", "numpy")
T = 2.0


def expected(teacher, student):
    teacher, student = (np.log(np.exp(z / T) / np.exp(z / T).sum(1, keepdims=True)) for z in (teacher, student))
    return T**2 * (np.exp(teacher) * (teacher - student)).sum(1).mean()


def loss(teacher, student, **options):
    made = keras.distillation.LogitsDistillation(temperature=T, **options)
    return float(made.compute_loss(keras.ops.convert_to_tensor(teacher), keras.ops.convert_to_tensor(student)))


teacher = np.array([[8.0, -3.0, -5.0], [-4.0, 9.0, -5.0]], np.float32)
student = np.array([[3.0, 2.0, -5.0], [-4.0, 3.0, 2.5]], np.float32)
instance = {"loss": keras.losses.KLDivergence()}
outcome = {
    "closed form": float(expected(teacher, student)),
    "default": loss(teacher, student),
    "by name": loss(teacher, student, loss="kl_divergence"),
    "instance": loss(teacher, student, **instance),
}
for name, value in outcome.items():
    show(name, round(value, 6))
same(abs(outcome["instance"] - outcome["closed form"]) < 1e-4, "the instance gives the closed form")
same(outcome["default"] == outcome["by name"], "the default is the name")
clipped = [np.clip(z / T, 1e-7, 1) for z in (teacher, student)]
of_logits = (clipped[0] * np.log(clipped[0] / clipped[1])).sum(1).mean()
same(abs(outcome["default"] - of_logits) < 1e-4, "the default is the divergence of the clipped logits, without softmax and factor")
same(outcome["closed form"] > 1 > 0.01 > abs(loss(teacher, np.sign(teacher) * T)), "agreement in sign alone has almost no loss")
PY
