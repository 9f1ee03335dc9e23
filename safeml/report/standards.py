"""What documents on safe machine learning ask for, and the stages whose evidence may support it. Data alone.

A clause is cited only if its text was read; of a document that is sold, only the title, the abstract or the public table of contents
was read, and `read` says which. No entry claims compliance.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL_STAGES = ("performance", "adversarial", "physical", "perturbation", "calibration")
DATA_STAGES = ("balance", "data_quality")
ABSTRACT, CONTENTS, TEXT, DATA = (
    "abstract read",
    "table of contents read",
    "text read",
    "version 5.6.0 of its data read",
)


@dataclass(frozen=True)
class Demand:
    """What a document asks for.

    document: its name with year.
    clause: the clause; "" where none was read.
    read: what of the document was read.
    asks: what it asks for, in our words.
    stages: whose evidence may support it; empty where the whole run is the evidence.
    missing: what this product does not give; "" if nothing is known to be missing.
    """

    document: str
    clause: str
    read: str
    asks: str
    stages: tuple[str, ...] = ()
    missing: str = ""


DEMANDS = (
    Demand(
        "AMLAS (University of York)",
        "verification argument",
        TEXT,
        "each safety requirement of the model is shown to be met by test or formal evidence",
        missing="Formal evidence: intervals are statistical, and attacks are searches.",
    ),
    Demand(
        "AMLAS (University of York)",
        "verification log [AA]",
        TEXT,
        "what was tested, with bounds and parameters, and how leakage between training and test was avoided",
        DATA_STAGES,
        missing="Independence of the tester from the developer.",
    ),
    Demand(
        "AMLAS (University of York)", "verification results [Z]", TEXT, "the results on the verification data"
    ),
    Demand(
        "Regulation (EU) 2024/1689 (AI Act)",
        "Article 15 (1), (3)",
        TEXT,
        "an appropriate accuracy, whose metrics and levels are declared",
        ("performance", "calibration"),
    ),
    Demand(
        "Regulation (EU) 2024/1689 (AI Act)",
        "Article 15 (4), (5)",
        TEXT,
        "resilience to errors and faults, and to attempts of third parties to change outputs",
        ("perturbation", "adversarial", "physical", "monitors"),
        missing="Poisoning of training data, and extraction of the model.",
    ),
    Demand(
        "Regulation (EU) 2024/1689 (AI Act)",
        "Annex IV 2 (g)",
        TEXT,
        "test data with their characteristics; metrics of accuracy, robustness and potentially discriminatory impacts; "
        "test reports dated and signed by the responsible persons",
        (*MODEL_STAGES, "fairness", *DATA_STAGES),
        missing="The signature of the responsible person.",
    ),
    Demand(
        "ISO/IEC TS 4213:2022",
        "5.3.2, 5.3.7, 5.3.13, 6.2",
        CONTENTS,
        "representativeness, leakage, baselines, confusion matrix and precision, recall and F1 of classifiers",
        ("performance", *DATA_STAGES),
    ),
    Demand(
        "ISO/IEC TR 24029-1:2021",
        "4.1.2",
        CONTENTS,
        "robustness goals, a plan and metrics; methods are statistical, formal or empirical",
        ("adversarial", "perturbation", "physical"),
        missing="Formal methods.",
    ),
    Demand(
        "ISO/IEC 24029-2:2023",
        "",
        ABSTRACT,
        "formal proof of robustness properties",
        missing="Nothing is formally verified unless the adversarial stage certified a radius.",
    ),
    Demand(
        "ISO/PAS 8800:2024",
        "",
        CONTENTS,
        "an assurance argument for artificial intelligence in road vehicles, with requirements, data, verification and confidence in tools",
        (*MODEL_STAGES, *DATA_STAGES, "fairness", "monitors"),
        missing="The safety analysis and the system around the model.",
    ),
    Demand(
        "ISO 21448:2022 (SOTIF)",
        "",
        ABSTRACT,
        "functional insufficiencies and their triggering conditions",
        ("perturbation", "physical", "fairness", "monitors"),
        missing="Triggering conditions of the vehicle and its sensors.",
    ),
    Demand(
        "NIST AI 100-2 E2025",
        "",
        CONTENTS,
        "a vocabulary of attacks: evasion, poisoning and privacy",
        ("adversarial", "physical", "privacy"),
        missing="Poisoning, and extraction of the model.",
    ),
    Demand(
        "MITRE ATLAS",
        "AML.T0015, AML.T0043, AML.M0008",
        DATA,
        "evasion of a model by crafted inputs, white-box, by queries or in the physical world; validation as countermeasure",
        ("adversarial", "physical"),
    ),
)
