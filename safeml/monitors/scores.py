"""Scores from logits, in float64. Higher means that the prediction deserves more trust. Legend: N images, K classes."""

import numpy as np

from .errors import MonitorRefused


def checked(values: np.ndarray, columns: int, name: str) -> np.ndarray:
    """Return `values` as float64 [N, columns].

    name: of the array, for the message.
    Raises MonitorRefused for another shape or a value that is not finite; a monitor never scores such a row.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or (columns and rows.shape[1] != columns):
        expected = f"[N, {columns}]" if columns else "[N, K]"
        raise MonitorRefused(f"{name} are {list(rows.shape)}; expected {expected}.")
    if not np.isfinite(rows).all():
        raise MonitorRefused(f"{name} hold a value that is not finite; expected finite values.")
    return rows


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities, float64 [N, K], at most 0.

    logits: float [N, K], finite.

    That of the largest class is -log1p(sum of the others), so it does not round to 0 where the softmax saturates.
    """
    rows = checked(logits, 0, "logits")
    top = rows.argmax(axis=1)
    every = np.arange(len(rows))
    shifted = rows - rows[every, top][:, None]
    others = np.exp(shifted)
    others[every, top] = 0.0
    mass = np.log1p(others.sum(axis=1))
    return np.asarray(shifted - mass[:, None])


def max_probability(logits: np.ndarray) -> np.ndarray:
    """Return the log-odds of the largest probability, float64 [N]: its order, without rounding to 1.

    Reference: D. Hendrycks, K. Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in neural
    networks", 2017.
    """
    return log_odds(checked(logits, 0, "logits"))


def log_odds(rows: np.ndarray) -> np.ndarray:
    """Return `max_probability` of rows that were checked, float64 [N, K]."""
    top = rows.argmax(axis=1)
    others = rows - rows[np.arange(len(rows)), top][:, None]
    others[np.arange(len(rows)), top] = -np.inf
    high = others.max(axis=1)
    safe = np.where(np.isfinite(high), high, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(-(safe + np.log(np.exp(others - safe[:, None]).sum(axis=1))))


def max_logit(logits: np.ndarray) -> np.ndarray:
    """Return the largest logit, float64 [N].

    Reference: D. Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", 2022.
    """
    return np.asarray(checked(logits, 0, "logits").max(axis=1))


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the negative energy, temperature * log(sum(exp(logits / temperature))), float64 [N].

    Reference: W. Liu et al., "Energy-based out-of-distribution detection", 2020.
    """
    if not temperature > 0:
        raise MonitorRefused(f"the temperature is {temperature}; expected a number above 0.")
    return np.asarray(temperature * log_sum(checked(logits, 0, "logits") / temperature))


def log_sum(rows: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(row))) of rows that were checked, float64 [N]; rows: float64 [N, K]."""
    high = rows.max(axis=1)
    return np.asarray(high + np.log(np.exp(rows - high[:, None]).sum(axis=1)))


# The scores of `logit_parts`.
PARTS = ("max_probability", "energy", "max_logit")


def logit_parts(rows: np.ndarray) -> np.ndarray:
    """Return the scores of `PARTS` of rows that were checked, float64 [3, N]; rows: float64 [N, K]."""
    return np.array([log_odds(rows), log_sum(rows), rows.max(axis=1)])


def entropy(logits: np.ndarray) -> np.ndarray:
    """Return the negative entropy of the probabilities in nats, float64 [N], -log(K)..0.

    All terms have one sign, so it orders images whose largest probability rounds to 1.
    """
    logs = log_softmax(logits)
    return np.asarray((np.exp(logs) * logs).sum(axis=1))


def random(count: int, seed: int) -> np.ndarray:
    """Return uniform numbers, float64 [N]: the baseline that knows nothing."""
    return np.random.default_rng(seed).random(count)
