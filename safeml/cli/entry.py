"""The console script. It installs signal handlers first, because the imports take half a second."""

from __future__ import annotations

import sys

from safeml import interruption


def main() -> None:
    """Run `safeml.cli.main.main`, without a traceback for Ctrl-C during its import."""
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
