"""`python -m safeml_edge`, `python -m safeml.edge` and the zipapp."""

import os
import sys

# `python -m` searches the current folder first; no module may come from there later on, when libraries are imported lazily.
sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]

if __name__ == "__main__":
    from .cli import main

    sys.exit(main())
