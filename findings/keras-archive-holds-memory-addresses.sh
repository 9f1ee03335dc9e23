#!/usr/bin/env bash
# Claim: a .keras file records shared_object_id, a memory address: the same script run twice saves the same model with other bytes in
#   config.json. Without that number the two are equal, and to_json() does not hold it.
# Matters where: a model is identified by the hash of its file, or a training is to be reproduced to the byte.
# Versions: keras 3.15.1, jax 0.10.2, numpy 2.4.6
# Source: Keras guides, Save, serialize, and export models (the file format is described without it)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 numpy==2.4.6
run <<'PY'
import re
import subprocess
import sys
import zipfile

os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
versions("keras", "jax", "numpy")
SAVE = """
import sys, keras, numpy as np
model = keras.Sequential([keras.Input((4,), name="input"), keras.layers.Dense(3, name="dense")], name="model")
model.set_weights([np.ones((4, 3), np.float32), np.zeros(3, np.float32)])
model.save(sys.argv[1])
open(sys.argv[1] + ".json", "w").write(model.to_json())
"""


def saved(name):
    subprocess.run([sys.executable, "-c", SAVE, name], check=True)
    with zipfile.ZipFile(name) as archive:
        return archive.read("config.json").decode(), open(f"{name}.json").read()


files = [saved(f"{number}.keras") for number in range(3)]
numbers = {tuple(re.findall(r'"shared_object_id": (\d+)', text)) for text, _ in files}
show("shared_object_id of three runs", sorted(numbers))
same(len({text for text, _ in files}) > 1, "runs of one script differ in config.json")
same(len({re.sub(r', "shared_object_id": \d+', "", text) for text, _ in files}) == 1, "they are equal without shared_object_id")
same(len({plain for _, plain in files}) == 1 and "shared_object_id" not in files[0][1], "to_json() holds none, and is equal")
PY
