"""The console script. It installs signal handlers first, because the imports take half a second."""

from __future__ import annotations

import sys

from safeml import interruption
from safeml.errors import first_line


def main() -> None:
    """Run `safeml.cli.main.main`, without a traceback for Ctrl-C during its import."""
    interruption.listen()
    try:
        from safeml.cli.main import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    except interruption.Terminated:
        sys.exit(143)
    except Exception as error:  # a package that is required is absent, broken or too old
        sys.stderr.write(
            f"safeml: this installation does not start ({type(error).__name__}: {first_line(error)}); "
            "install it again with `python -m pip install --force-reinstall safeml-suite`.\n"
        )
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
