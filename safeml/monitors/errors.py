"""The error of a monitor: something was refused, and why."""


class MonitorRefused(ValueError):
    """A state, array or file was refused: one sentence with what was found, what was expected and where."""
