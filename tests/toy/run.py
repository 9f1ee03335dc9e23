"""`python -m tests.toy.run COMMAND ...`: the command line with the toy stage installed and its classifier for a model."""

from __future__ import annotations

import sys
from pathlib import Path

# The entry point of the stage is found here, as that of any installed package.
INSTALLED = Path(__file__).parent / "installed"
sys.path.append(str(INSTALLED))


def main() -> None:
    """`safeml.cli.main.main`, with models that need no framework."""
    from safeml import interruption

    interruption.listen()
    from safeml.classifiers import load
    from safeml.cli.main import main as command
    from tests.toy.classifier import load_model

    load.load_model = load_model  # type: ignore[assignment]
    command()


if __name__ == "__main__":
    main()
