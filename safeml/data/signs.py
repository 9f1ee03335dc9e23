"""Facts about the 43 classes of the German Traffic Sign Recognition Benchmark (GTSRB).

Order and meaning of the classes: J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel, "Man vs. computer: Benchmarking
machine learning algorithms for traffic sign recognition", Neural Networks 32 (2012). The English names are those in
common use for the benchmark. The families follow the German road traffic regulations (StVO, annexes 1 to 3): signs of
one family share shape and colour, so errors inside a family and between families are different errors.
"""

from __future__ import annotations

SPEED_LIMIT = "speed limit"
PROHIBITION = "prohibition"
END_OF_RESTRICTION = "end of restriction"
DANGER = "danger"
MANDATORY = "mandatory"
RIGHT_OF_WAY = "right of way"

# One row per class, in the order of the official class ids 0-42.
_CATALOGUE: tuple[tuple[str, str], ...] = (
    ("Speed limit (20km/h)", SPEED_LIMIT),
    ("Speed limit (30km/h)", SPEED_LIMIT),
    ("Speed limit (50km/h)", SPEED_LIMIT),
    ("Speed limit (60km/h)", SPEED_LIMIT),
    ("Speed limit (70km/h)", SPEED_LIMIT),
    ("Speed limit (80km/h)", SPEED_LIMIT),
    ("End of speed limit (80km/h)", END_OF_RESTRICTION),
    ("Speed limit (100km/h)", SPEED_LIMIT),
    ("Speed limit (120km/h)", SPEED_LIMIT),
    ("No passing", PROHIBITION),
    ("No passing for vehicles over 3.5 metric tons", PROHIBITION),
    ("Right-of-way at the next intersection", RIGHT_OF_WAY),
    ("Priority road", RIGHT_OF_WAY),
    ("Yield", RIGHT_OF_WAY),
    ("Stop", RIGHT_OF_WAY),
    ("No vehicles", PROHIBITION),
    ("Vehicles over 3.5 metric tons prohibited", PROHIBITION),
    ("No entry", PROHIBITION),
    ("General caution", DANGER),
    ("Dangerous curve to the left", DANGER),
    ("Dangerous curve to the right", DANGER),
    ("Double curve", DANGER),
    ("Bumpy road", DANGER),
    ("Slippery road", DANGER),
    ("Road narrows on the right", DANGER),
    ("Road work", DANGER),
    ("Traffic signals", DANGER),
    ("Pedestrians", DANGER),
    ("Children crossing", DANGER),
    ("Bicycles crossing", DANGER),
    ("Beware of ice/snow", DANGER),
    ("Wild animals crossing", DANGER),
    ("End of all speed and passing limits", END_OF_RESTRICTION),
    ("Turn right ahead", MANDATORY),
    ("Turn left ahead", MANDATORY),
    ("Ahead only", MANDATORY),
    ("Go straight or right", MANDATORY),
    ("Go straight or left", MANDATORY),
    ("Keep right", MANDATORY),
    ("Keep left", MANDATORY),
    ("Roundabout mandatory", MANDATORY),
    ("End of no passing", END_OF_RESTRICTION),
    ("End of no passing by vehicles over 3.5 metric tons", END_OF_RESTRICTION),
)

CLASS_NAMES: tuple[str, ...] = tuple(name for name, _ in _CATALOGUE)
FAMILIES: tuple[str, ...] = tuple(family for _, family in _CATALOGUE)
"""The family of each class, in class order."""

FAMILY_OF: dict[str, str] = dict(_CATALOGUE)
"""Family by class name."""

CRITICAL_CLASSES: tuple[str, ...] = ("Yield", "Stop", "No entry", "Pedestrians", "Children crossing")
"""Classes whose omission puts others at risk at once: crossing traffic, oncoming traffic, people on the road.

They are pooled where each alone is too rare for a proof. The list is a proposal of safeml, not an external standard.
"""


def families(class_names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the family of each class in `class_names`, or None if a name is not one of GTSRB's."""
    if not all(name in FAMILY_OF for name in class_names):
        return None
    return tuple(FAMILY_OF[name] for name in class_names)
