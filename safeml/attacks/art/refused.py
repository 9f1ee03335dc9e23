"""The evasion attacks of ART that do not run on an image classifier in TensorFlow, and why."""

from __future__ import annotations

from safeml.attacks.art.row import Row

TORCH = "it is written for PyTorch, and the classifier is a TensorFlow graph"
DETECTOR = "it attacks object detectors, and this is a classifier"
SPEECH = "it attacks speech recognition, and this is an image classifier"
LAYERS = "it wants the layers of a Keras Sequential model by name, and is given a function of pixels"

REFUSED: dict[str, Row] = {
    name: Row(art_class, "other", "white box", "", refused=reason)
    for name, art_class, reason in (
        (
            "auto_attack",
            "AutoAttack",
            "it imports the package multiprocess, which ART does not declare, and the attacks in it have rows of their own "
            "(auto_pgd, auto_pgd_dlr, deepfool, square)",
        ),
        (
            "momentum_iterative_method",
            "MomentumIterativeMethod",
            "ART 1.20 has switched the class off for TensorFlow; momentum_iterative is the same descent",
        ),
        ("decision_tree", "DecisionTreeAttack", "it attacks decision trees of scikit-learn"),
        (
            "high_confidence_low_uncertainty",
            "HighConfidenceLowUncertainty",
            "it attacks Gaussian processes of GPy",
        ),
        ("low_pro_fool", "LowProFool", "it attacks tables of features, and these are images"),
        ("frame_saliency", "FrameSaliencyAttack", "it attacks videos, and these are single images"),
        ("feature_adversaries", "FeatureAdversariesTensorFlowV2", LAYERS),
        ("feature_adversaries_numpy", "FeatureAdversariesNumpy", LAYERS),
        ("feature_adversaries_pytorch", "FeatureAdversariesPyTorch", TORCH),
        (
            "carlini_l0",
            "CarliniL0Method",
            "it gives back one value of a picture for each of its rows and no more, so that its change is not sparse, and "
            "takes a minute for an image; jsma and pixel are the attacks on few pixels",
        ),
        (
            "brendel_bethge",
            "BrendelBethgeAttack",
            "it compiles for about a minute before its first step, and writes a progress bar that cannot be turned off",
        ),
        ("laser_beam", "LaserAttack", "it calls numpy.asfarray, which NumPy 2 has removed"),
        ("graphite_blackbox", "GRAPHITEBlackbox", "it imports OpenCV and PyTorch, which are not installed"),
        ("graphite_whitebox", "GRAPHITEWhiteboxPyTorch", TORCH),
        ("composite_adversarial", "CompositeAdversarialAttackPyTorch", TORCH),
        ("adversarial_texture", "AdversarialTexturePyTorch", TORCH),
        ("over_the_air_flickering", "OverTheAirFlickeringPyTorch", TORCH),
        ("dpatch", "DPatch", DETECTOR),
        ("robust_dpatch", "RobustDPatch", DETECTOR),
        ("overload", "OverloadPyTorch", DETECTOR),
        ("steal_now_attack_later", "SNAL", DETECTOR),
        ("malware_gd", "MalwareGDTensorFlow", "it attacks detectors of malware, and these are images"),
        ("carlini_wagner_asr", "CarliniWagnerASR", SPEECH),
        ("imperceptible_asr", "ImperceptibleASR", SPEECH),
        ("imperceptible_asr_pytorch", "ImperceptibleASRPyTorch", SPEECH),
    )
}
