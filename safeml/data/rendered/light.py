"""Weather, lens and sensor: from scene radiance to camera pixels. Legend: F frames, H W C pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.data.rendered.approach import smooth


@dataclass(frozen=True)
class Weather:
    """The ranges of the light of a track.

    exposure: median brightness as a factor on the scene, and its log-normal spread.
    backlight: lowest and highest ratio of background to sign brightness.
    haze: largest share of grey haze.
    shadow: probability of a shadow edge on the sign.
    cast: colour of the light.
    noise: sensor noise of a white pixel, in grey levels of 255.
    """

    exposure: float
    spread: float
    backlight: tuple[float, float]
    haze: float
    shadow: float
    cast: tuple[float, float, float]
    noise: float


WEATHERS: dict[str, Weather] = {
    "sunny": Weather(0.90, 0.45, (0.35, 2.2), 0.05, 0.5, (1.06, 1.0, 0.92), 2.0),
    "overcast": Weather(0.56, 0.45, (0.35, 4.0), 0.08, 0.0, (0.98, 1.0, 1.04), 3.0),
    "backlit": Weather(0.24, 0.40, (3.0, 9.0), 0.10, 0.0, (1.0, 0.98, 1.0), 4.0),
    "dusk": Weather(0.19, 0.40, (0.35, 4.0), 0.06, 0.0, (0.94, 0.97, 1.12), 4.0),
    "fog": Weather(0.60, 0.30, (0.8, 1.3), 0.60, 0.0, (1.0, 1.0, 1.0), 3.0),
    "rain": Weather(0.42, 0.40, (0.5, 2.5), 0.30, 0.0, (0.96, 1.0, 1.05), 4.0),
}
SHARES = {"sunny": 0.26, "overcast": 0.28, "backlit": 0.12, "dusk": 0.18, "fog": 0.07, "rain": 0.09}


def blur(frames: np.ndarray, defocus: np.ndarray, motion: np.ndarray, direction: float) -> np.ndarray:
    """Apply defocus (Gaussian, standard deviation in pixels) and motion blur (straight path, length in pixels), circular.

    frames: float32 [F, H, W, C]. defocus, motion: [F]. direction: radians. Returns float32 [F, H, W, C].
    Both blurs are one transfer function: a Gaussian's is a Gaussian, a line's is a sinc.
    """
    height, width = frames.shape[1:3]
    v = np.fft.fftfreq(height).astype(np.float32)[:, None]
    u = np.fft.rfftfreq(width).astype(np.float32)
    along = np.float32(np.cos(direction)) * u + np.float32(np.sin(direction)) * v
    gauss = np.exp(-2 * np.pi**2 * defocus.astype(np.float32)[:, None, None] ** 2 * (u**2 + v**2))
    transfer = gauss * np.sinc(motion.astype(np.float32)[:, None, None] * along)
    spectrum = np.fft.rfft2(frames, axes=(1, 2)) * transfer[..., None]
    return np.fft.irfft2(spectrum, s=(height, width), axes=(1, 2))


def _shadow(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw a soft straight edge between light (1) and shade: float32 [H, W, 1]."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
    edge = 1 / (1 + np.exp(-(np.cos(angle) * x + np.sin(angle) * y - offset) / rng.uniform(0.03, 0.15)))
    depth = rng.uniform(0.35, 0.75)
    light: np.ndarray = 1 - depth * edge[..., None]
    return light.astype(np.float32, copy=False)


def expose(
    rng: np.random.Generator, weather: Weather, scene: np.ndarray, size: np.ndarray, margin: int
) -> np.ndarray:
    """Return the camera frames of a track.

    scene: float32 [F, H, W, 3], 0..255, with `margin` pixels on every side for the blur, cropped in the result.
    size: int [F], original side in pixels: a small sign is blurred more. Returns uint8 [F, H - 2 margin, W - 2 margin, 3].
    """
    frames, side = scene.shape[:2]
    exposure = weather.exposure * np.exp(smooth(rng, frames, 0.0, weather.spread, 0.08))
    cast = np.array(weather.cast, np.float32) * rng.normal(1, 0.03, 3).astype(np.float32)
    light = exposure.astype(np.float32)[:, None, None, None] * cast
    if rng.random() < weather.shadow:
        light = light * _shadow(rng, side)
    seen = scene * light
    veil = (
        weather.haze
        * rng.uniform(0.2, 1)
        * np.linspace(1, 0.85, frames, dtype=np.float32)[:, None, None, None]
    )
    seen = seen * (1 - veil) + veil * np.float32(190 * np.mean(exposure)) * cast
    unit = (side - 2 * margin) / 32
    defocus = unit * np.abs(smooth(rng, frames, 0.35, 0.3, 0.12)) * (30 / size) ** 0.3
    motion = unit * np.abs(smooth(rng, frames, 0.0, 1.0, 0.4))
    seen = blur(seen, defocus, motion, rng.uniform(0, np.pi))[
        :, margin : side - margin, margin : side - margin
    ]
    # Photon noise grows with the root of the signal; read noise does not.
    grain = rng.standard_normal(seen.shape, dtype=np.float32)
    seen = seen + np.float32(weather.noise) * np.sqrt(0.15 + np.clip(seen, 0, 255) / 255) * grain
    written: np.ndarray = np.clip(np.rint(seen), 0, 255)
    return written.astype(np.uint8)
