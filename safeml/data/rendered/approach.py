"""The approach of a camera to a sign: size, pose and homographies. Legend: F frames of one track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST, LARGEST = 15, 200
"""Limits of the original size of an image in pixels."""


@dataclass(frozen=True)
class Approach:
    """A track: arrays [F] that vary smoothly from the first (farthest) frame to the last.

    size: int; side of the original image in pixels, non-decreasing.
    roll, yaw, pitch: radians.
    x, y: centre of the sign, in half image sides from the middle.
    fill: sign radius in half image sides.
    depth: camera distance in sign radii.
    """

    size: np.ndarray
    roll: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    x: np.ndarray
    y: np.ndarray
    fill: np.ndarray
    depth: np.ndarray


def smooth(rng: np.random.Generator, frames: int, centre: float, spread: float, drift: float) -> np.ndarray:
    """Draw a slow curve over the track: float64 [F] about centre + N(0, spread), varying by about `drift`."""
    time = np.linspace(0, 1, frames)
    base, slope, wave, phase = rng.normal(size=4)
    wander = slope * (time - 0.5) + 0.5 * wave * np.sin(2 * np.pi * (time + phase))
    curve: np.ndarray = centre + spread * base + drift * wander
    return curve


def draw_approach(rng: np.random.Generator, frames: int) -> Approach:
    """Draw an approach at constant speed: the inverse of the size falls linearly."""
    far = np.exp(rng.normal(np.log(33), 0.26))
    near = far * rng.uniform(1.2, 3.2)
    size = 1 / np.linspace(1 / far, 1 / near, frames)
    side = rng.choice([-1.0, 1.0])
    return Approach(
        size=np.clip(np.rint(size), SMALLEST, LARGEST).astype(np.int32),
        roll=smooth(rng, frames, 0.0, np.deg2rad(4), np.deg2rad(1)),
        yaw=side * np.abs(smooth(rng, frames, np.deg2rad(12), np.deg2rad(11), np.deg2rad(4))),
        pitch=smooth(rng, frames, 0.0, np.deg2rad(7), np.deg2rad(2)),
        x=smooth(rng, frames, 0.0, 0.02, 0.03),
        y=smooth(rng, frames, 0.0, 0.02, 0.03),
        fill=np.clip(smooth(rng, frames, 0.77, 0.03, 0.02), 0.66, 0.84),
        depth=np.linspace(1, 0.6, frames) * rng.uniform(6, 14),
    )


def homographies(approach: Approach) -> np.ndarray:
    """Return the maps from the sign's plane (units of `brush`) to the image (half sides from the middle): float64 [F, 3, 3].

    A pinhole camera at `depth` views a plane rotated by pitch, then yaw, then roll; the scale is normalised so that the
    radius of the sign is `fill` without foreshortening.
    """
    one, nil = np.ones_like(approach.roll), np.zeros_like(approach.roll)

    def rotation(angle: np.ndarray, rows: str) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        entries = {"c": c, "s": s, "-": -s, "1": one, "0": nil}
        return np.stack([entries[key] for key in rows], axis=-1).reshape(len(angle), 3, 3)

    turned = (
        rotation(approach.roll, "c-0sc0001")
        @ rotation(approach.yaw, "c0s010-0c")
        @ rotation(approach.pitch, "1000c-0sc")
    )
    plane = turned[:, :, :2]
    gain = approach.fill * approach.depth
    projected: np.ndarray = np.zeros((len(turned), 3, 3))
    projected[:, 2, :2] = plane[:, 2]
    projected[:, 2, 2] = approach.depth
    projected[:, 0, :2] = gain[:, None] * plane[:, 0]
    projected[:, 1, :2] = gain[:, None] * plane[:, 1]
    projected[:, 0] += approach.x[:, None] * projected[:, 2]
    projected[:, 1] += approach.y[:, None] * projected[:, 2]
    return projected


def tilt(matrices: np.ndarray) -> np.ndarray:
    """Return how far the sign is turned in the image, in degrees, clockwise positive: float64 [F], -180..180.

    It is the angle between the image of the sign's upward axis at the sign's centre and the upward axis of the image: the
    derivative of the projection there. Roll alone is not determined by an image, because yaw and pitch together turn the axis
    too; this angle is.

    matrices: float64 [F, 3, 3], see `homographies`; y points down in both planes.
    """
    column = matrices[:, :2, 1] * matrices[:, 2:, 2] - matrices[:, :2, 2] * matrices[:, 2:, 1]
    angles: np.ndarray = np.rad2deg(np.arctan2(-column[:, 0], column[:, 1]))
    return angles


def project(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points [P, 2] of the sign's plane through each map [F, 3, 3]: float64 [F, P, 2]."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    images: np.ndarray = np.einsum("fij,pj->fpi", matrices, lifted)
    images[..., :2] /= images[..., 2:]
    return images[..., :2]
