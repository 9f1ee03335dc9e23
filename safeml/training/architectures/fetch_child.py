"""A process that lets Keras fetch the ImageNet weights of one network into Keras' own cache, and ends.

    python -m safeml.training.architectures.fetch_child NAME '{"input_shape": [96, 96, 3]}'

It prints "" or why it did not succeed, in one line. In a process of its own, because a download has no time limit and can
only be ended with its process; nothing is taken from it but the file, whose checksum Keras knows.
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import redirect_stdout

SILENCE = 15  # seconds without a byte after which a server is given up


def main() -> None:
    from safeml import framework
    from safeml.errors import first_line

    socket.setdefaulttimeout(SILENCE)
    framework.start()
    import keras

    failure = ""
    with redirect_stdout(sys.stderr):  # Keras draws its progress there
        try:
            getattr(keras.applications, sys.argv[1])(
                include_top=False, weights="imagenet", **json.loads(sys.argv[2])
            )
        except Exception as error:  # Keras raises the bare class where a download fails
            failure = first_line(error, 400)
    sys.stdout.write(failure)


if __name__ == "__main__":
    main()
