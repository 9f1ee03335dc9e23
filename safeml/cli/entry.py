"""The console script. Signals are listened to before anything else is imported, which takes half a second."""

from __future__ import annotations

import sys

from safeml import interruption


def main() -> None:
    """`safeml.cli.main.main`, and no traceback for Ctrl-C while it is being imported."""
    interruption.listen()
    try:
        from safeml.cli.main import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    except interruption.Terminated:
        sys.exit(143)
    command()


if __name__ == "__main__":
    main()
