"""The attribution methods by their name in `safeml.toml`: what can be known of one without running it.

A new method is one file, one row here and one row in the test table. No framework and no NumPy: settings and plan read this too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Needs = Literal["predictions", "gradient", "feature maps", "Keras network"]


class Efforts(Protocol):
    """The settings that say how much each method may spend; see `ExplainabilitySettings` for the fields."""

    @property
    def steps(self) -> int: ...
    @property
    def draws(self) -> int: ...
    @property
    def copies(self) -> int: ...
    @property
    def masks(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def places(self) -> int: ...


@dataclass(frozen=True)
class ExplainerRow:
    """One attribution method.

    title: as the report writes it.
    function: "module:name" of the `Explainer`, imported when it runs.
    needs: what it asks of the model.
    passes: settings -> passes through the model for one map; with a gradient, unless `needs` is "predictions".
    source: author, title, year.
    """

    title: str
    function: str
    needs: Needs
    passes: Callable[[Efforts], int]
    source: str

    @property
    def gradient(self) -> bool:
        """Whether it needs the gradient of the model."""
        return self.needs != "predictions"


ROWS: dict[str, ExplainerRow] = {
    "integrated_gradients": ExplainerRow(
        "Integrated gradients",
        "safeml.explainers.integrated_gradients:integrated_gradients",
        "gradient",
        lambda efforts: efforts.steps,
        "M. Sundararajan, A. Taly, Q. Yan, Axiomatic attribution for deep networks, 2017",
    ),
    "gradient_shap": ExplainerRow(
        "Gradient SHAP",
        "safeml.explainers.gradient_shap:gradient_shap",
        "gradient",
        lambda efforts: efforts.draws,
        "S. Lundberg, S. Lee, A unified approach to interpreting model predictions, 2017; G. Erion et al., Expected gradients, 2019",
    ),
    "smooth_grad": ExplainerRow(
        "SmoothGrad",
        "safeml.explainers.smooth_grad:smooth_grad",
        "gradient",
        lambda efforts: efforts.copies,
        "D. Smilkov et al., SmoothGrad: removing noise by adding noise, 2017",
    ),
    "grad_cam": ExplainerRow(
        "Grad-CAM",
        "safeml.explainers.grad_cam:grad_cam",
        "feature maps",
        lambda efforts: 1,
        "R. Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, 2017",
    ),
    "deep_shap": ExplainerRow(
        "Deep SHAP",
        "safeml.explainers.deep_shap:deep_shap",
        "Keras network",
        lambda efforts: efforts.draws,
        "S. Lundberg, S. Lee, A unified approach to interpreting model predictions, 2017 (DeepExplainer of shap)",
    ),
    "occlusion": ExplainerRow(
        "Occlusion",
        "safeml.explainers.occlusion:occlusion",
        "predictions",
        lambda efforts: efforts.places**2,
        "M. Zeiler, R. Fergus, Visualizing and understanding convolutional networks, 2014",
    ),
    "rise": ExplainerRow(
        "RISE",
        "safeml.explainers.rise:rise",
        "predictions",
        lambda efforts: efforts.masks,
        "V. Petsiuk, A. Das, K. Saenko, RISE: randomized input sampling for explanation of black-box models, 2018",
    ),
    "partition_shap": ExplainerRow(
        "Partition SHAP",
        "safeml.explainers.partition_shap:partition_shap",
        "predictions",
        lambda efforts: efforts.evaluations,
        "S. Lundberg, S. Lee, A unified approach to interpreting model predictions, 2017 (PartitionExplainer of shap)",
    ),
}
