#!/usr/bin/env bash
# Claim: shap.maskers.Image("inpaint_telea") casts images to uint8. Of float images in 0..1 the hidden pixels become black, without a
#   warning, and the model is fed values that no image has.
# Matters where: a Keras model takes pixels in 0..1 and is explained by shap.PartitionExplainer with OpenCV's inpainting.
# Versions: shap 0.51.0, opencv-python-headless 5.0.0.93, numpy 2.4.6
# Source: shap documentation, shap.maskers.Image; OpenCV documentation, cv2.inpaint (8-bit images)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install shap==0.51.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
run <<'PY'
import warnings
import numpy as np
import shap

versions("shap", "opencv-python-headless", "numpy")
warnings.simplefilter("error", UserWarning)
levels = np.linspace(140, 220, 32 * 32 * 3).reshape(32, 32, 3)
mask = np.ones((32, 32, 3), bool)
mask[8:24, 8:24] = False  # the middle is hidden
hidden = {}
for name, image in {"uint8": levels.astype(np.uint8), "float 0..1": (levels / 255).astype(np.float32)}.items():
    masked = np.asarray(shap.maskers.Image("inpaint_telea", image.shape)(mask.ravel(), image)[0]).reshape(image.shape)
    hidden[name] = masked[8:24, 8:24].mean() / (255 if name == "uint8" else 1)
show("mean of the hidden pixels, as a share of full brightness", {name: round(float(value), 4) for name, value in hidden.items()})
same(0.6 < hidden["uint8"] < 0.8, "the hidden part of a uint8 image is as bright as what is round it (0.55 to 0.86)")
same(not 0.5 < hidden["float 0..1"] < 1, "that of the same image in 0..1 is not")
PY
