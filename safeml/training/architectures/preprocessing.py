"""The preprocessing of each network of `keras.applications`, as one exact layer on RGB in 0..1.

Always elementwise: accelerators that multiply in TF32 would round a convolution to ten bits.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import keras
import numpy as np

LAYER = "preprocessing"
# Mean and standard deviation of ImageNet in RGB, of pixels 0..1 ("torch"); the mean of pixels 0..255 ("caffe").
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)

Convention = Literal["tf", "torch", "caffe", "bytes"]


class Scaling(NamedTuple):
    """A scaling: pixels in 0..1 * scale + offset; three entries are for R, G and B.

    bgr: the network then takes B, G, R.
    """

    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    bgr: bool = False


SCALINGS: dict[Convention, Scaling] = {
    "tf": Scaling(2.0, -1.0),
    "torch": Scaling(
        tuple(1 / std for std in TORCH_STD),
        tuple(-mean / std for mean, std in zip(TORCH_MEAN, TORCH_STD, strict=True)),
    ),
    "caffe": Scaling(255.0, tuple(-mean for mean in CAFFE_MEAN), bgr=True),
    "bytes": Scaling(255.0, 0.0),  # the first layers of the network do the rest
}


def _rows(convention: Convention, names: str) -> dict[str, Convention]:
    return dict.fromkeys(names.split(), convention)


# As the function `preprocess_input` of each module has it.
APPLICATIONS: dict[str, Convention] = {
    **_rows(
        "tf",
        "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile ResNet50V2 ResNet101V2 "
        "ResNet152V2 Xception",
    ),
    **_rows("torch", "DenseNet121 DenseNet169 DenseNet201"),
    **_rows("caffe", "ResNet50 ResNet101 ResNet152 VGG16 VGG19"),
    **_rows(
        "bytes",
        "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge "
        "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 "
        "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L "
        "MobileNetV3Large MobileNetV3Small",
    ),
}


def preprocessing(convention: Convention) -> keras.layers.Layer:
    """Return a layer from float32 [N, H, W, 3], RGB in 0..1, to the input of the network in the order R, G, B."""
    scale, offset, _ = SCALINGS[convention]
    return keras.layers.Rescaling(
        list(scale) if isinstance(scale, tuple) else scale,
        list(offset) if isinstance(offset, tuple) else offset,
        name=LAYER,
    )


def take_rgb(model: keras.Model, convention: Convention) -> None:
    """Make a network in B, G, R order take R, G, B by reversing its first kernel, without changing its outputs."""
    if not SCALINGS[convention].bgr:
        return
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *others = first.get_weights()
    first.set_weights([np.ascontiguousarray(kernel[:, :, ::-1]), *others])
