"""Pictures of a campaign: the recall of each class under the worst attack, and the most confident adversarial examples."""

from __future__ import annotations

import numpy as np

from safeml.audits.adversarial.campaign import MostConfident
from safeml.audits.adversarial.upper_bound import from_zero
from safeml.audits.gallery import change_panel, panel, to_uint8
from safeml.audits.measured import CleanSample
from safeml.audits.weakest import group_recall
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import softmax
from safeml.metrics.perturbation import perturbation_size
from safeml.results import Dot, DotPlot, Gallery, GalleryItem
from safeml.threats import Threat, threat_words

MOST_CASES = 24


def class_plot(
    sample: ImageDataset,
    right: np.ndarray,
    robust: np.ndarray,
    main: Threat,
    why: str = "",
    spared: bool = False,
) -> DotPlot:
    """Plot the recall of each class under the worst attack, weakest first; classes without an image come last.

    why: as in `security_curves`.
    spared: some images were spared a part of the attacks.
    """
    dots = []
    for label, name in enumerate(sample.class_names):
        member = sample.labels == label
        under_attack = from_zero(group_recall(sample, robust, member, name, f"class:{name}"), why)
        dots.append(
            Dot(
                label=name,
                value=under_attack.value,
                low=under_attack.low,
                high=under_attack.high,
                n=int(member.sum()),
                compare=float(right[member].mean()) if member.any() else None,
            )
        )
    dots.sort(key=lambda dot: (dot.value is None, dot.value if dot.value is not None else 0.0))
    return DotPlot(
        id="robust-recall-by-class",
        title=f"Recall by class under the worst attack, {threat_words(main)}",
        dots=dots,
        overall=float(robust.mean()),
        caption="Weakest first; the outline is the recall of the same images without an attack."
        + (f" The intervals reach down to 0: {why}." if why else "")
        + (
            " They do not count what spared attacks can hide: see the limits of this stage." if spared else ""
        ),
    )


def worst_cases(sample: ImageDataset, clean: CleanSample, examples: MostConfident, main: Threat) -> Gallery:
    """Show the most confident adversarial examples of correctly classified images, at most one per class."""
    selected: list[int] = []
    for row in sorted(
        np.flatnonzero(examples.confidence >= 0).tolist(), key=lambda row: -examples.confidence[row]
    ):
        if len(selected) < MOST_CASES and sample.labels[row] not in sample.labels[selected]:
            selected.append(row)

    # One scale for all pictures: epsilon fills it for L-inf; no pixel of an L2 attack comes near its epsilon.
    scale = main.epsilon
    if main.norm == "l2" and selected:
        shown = examples.attacked[selected]
        scale = max(float(perturbation_size(clean.images[selected], shown, "linf").max()), 1e-6)
    certain = softmax(clean.logits)
    items = []
    for row in selected:
        label, answer = int(sample.labels[row]), int(examples.logits[row].argmax())
        items.append(
            GalleryItem(
                panels=[
                    panel("clean", sample.images[row]),
                    panel("attacked", to_uint8(examples.attacked[row])),
                    change_panel("change", clean.images[row], examples.attacked[row], scale),
                ],
                true_name=sample.class_names[label],
                true_confidence=float(certain[row, label]),
                predicted_name=sample.class_names[answer],
                predicted_confidence=float(examples.confidence[row]),
                index=None if sample.ids is None else int(sample.ids[row]),
            )
        )
    return Gallery(
        id="worst-attacks",
        title=f"Most confident misclassifications under attack, {threat_words(main)}",
        items=items,
        caption=f"Clean, attacked, and the change (grey is none, black and white are ±{scale * 255:.3g}/255).",
    )
