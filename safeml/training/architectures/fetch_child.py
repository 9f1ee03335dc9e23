"""A process in which Keras fetches the ImageNet weights of one network into its cache.

    python -m safeml.training.architectures.fetch_child NAME '{"input_shape": [96, 96, 3]}'

It prints "" or the reason of a failure in one line. It is a separate process because a download has no time limit and
ends only with its process; its only result is the file, whose checksum Keras verifies.
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import redirect_stdout

SILENCE = 15  # seconds without a byte after which the download fails


def main() -> None:
    from safeml import framework
    from safeml.errors import first_line

    socket.setdefaulttimeout(SILENCE)
    framework.start()
    import keras

    failure = ""
    with redirect_stdout(sys.stderr):  # Keras prints its progress there
        try:
            getattr(keras.applications, sys.argv[1])(
                include_top=False, weights="imagenet", **json.loads(sys.argv[2])
            )
        except Exception as error:  # Keras raises the bare class if a download fails
            failure = first_line(error, 400)
    sys.stdout.write(failure)


if __name__ == "__main__":
    main()
