"""The table `run` of the device settings, and the options of a command over it."""

from typing import Any, NamedTuple

from .errors import Usage


class RunSettings(NamedTuple):
    """Limits of a run; 0 for none, but for `threads`.

    latency_ms: of one frame, from the beginning of its work to its decision; above it, the decision is FALL_BACK. It is also the budget
        of the self-test for p99 of one image.
    stale_ms: age of a frame of a camera when its work begins; an older one is not inferred, and the decision is FALL_BACK.
    hot: degrees Celsius from which on a run pauses after each frame, as it does while the device throttles.
    pause_ms: of such a pause.
    hang_s: seconds without an answer after which the process ends.
    least_trusted: share of frames that must be TRUST, 0..1; below it, the run ends with exit code 1.
    threads: of ONNX Runtime; 0 for as many as it chooses.
    block: most frames of a folder or a file that are answered together; 1 for one by one, each with its latency. Frames of a camera, and all
        frames under a limit `latency_ms`, are answered one by one.
    """

    latency_ms: float = 0.0
    stale_ms: float = 0.0
    hot: float = 0.0
    pause_ms: float = 50.0
    hang_s: float = 30.0
    least_trusted: float = 0.0
    threads: int = 0
    block: int = 128


MOST = {"least_trusted": 1.0, "threads": 64, "block": 1024}
WHOLE = ("threads", "block")


def run_settings(settings: Any, options: Any = None) -> RunSettings:
    """Return the table, with the options of a command that are not None over it.

    settings: of the device. options: an object whose attributes have the names of the fields.
    Raises Usage for an unknown name, or a value that is no number from 0 on.
    """
    table = dict(settings.run)
    for name in RunSettings._fields:
        given = getattr(options, name, None)
        if given is not None:
            table[name] = given
    unknown = sorted(set(table) - set(RunSettings._fields))
    if unknown:
        raise Usage(
            f"run.{unknown[0]} of the device settings is unknown; expected {', '.join(RunSettings._fields)}."
        )
    for name, value in table.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= MOST.get(name, 1e9) or (name in WHOLE and value != int(value)):
            raise Usage(f"run.{name} is {value!r}; expected a number from 0 to {MOST.get(name, 1e9):g}.")
    whole = RunSettings()._replace(**table)
    return whole._replace(threads=int(whole.threads), block=int(whole.block))
