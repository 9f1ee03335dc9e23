"""Recall and false pairs of the search for near duplicates, on the GTSRB training signs.

    python benchmarks/near_duplicates.py DATA        # DATA holds gtsrb/train.npz

Made copies: each of COPIES images, changed in one way, is searched for among all training images. Frames: the share of consecutive frames
of one sign, and of sign tracks cut in two halves, that are found. False pairs: images whose nearest copy is in another sign track; some
of these are two recordings of one sign, so the count is an upper bound. Candidates are counted by the embedding and by the hash alone.
Test images are not used. The record is in benchmarks/results/near_duplicates.json.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from safeml.data.npz import load
from safeml.metrics import near_duplicates as near
from safeml.metrics.duplicates import NO_COPY
from safeml.metrics.track_recovery import agreement, recovered_tracks

RESULT = Path(__file__).parent / "results" / "near_duplicates.json"
COPIES, SEED = 1500, 5


def compressed(images: np.ndarray, quality: int) -> np.ndarray:
    """Compress and decompress each image as JPEG."""
    made = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        made.append(np.asarray(Image.open(file)))
    return np.stack(made)


def changed(images: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the images under each change."""
    values = images.astype(np.float32)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")

    def rounded(pixels: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    small = [Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR) for image in images]
    return {
        "shifted by one pixel": padded[:, 2:, 1:-1],
        "noise of deviation 4": rounded(values + rng.normal(0, 4, values.shape)),
        "noise of deviation 8": rounded(values + rng.normal(0, 8, values.shape)),
        "JPEG quality 90": compressed(images, 90),
        "JPEG quality 75": compressed(images, 75),
        "JPEG quality 50": compressed(images, 50),
        "brighter by a fifth": rounded(values * 1.2 + 10),
        "through 28 x 28 pixels": np.stack(
            [np.asarray(i.resize((32, 32), Image.Resampling.BILINEAR)) for i in small]
        ),
    }


def candidates(ones: near.Prints, base: near.Prints, truth: np.ndarray) -> tuple[float, float]:
    """Return the share of the originals among the candidates of the embedding, and of the hash."""
    embedded = near._nearest_embeddings(ones.embedding, base.embedding, None)
    hashed = np.stack(near._nearest_hashes(ones.hashes, base.hashes), axis=1)
    return tuple(
        round(float((found == truth[:, None]).any(axis=1).mean()), 4) for found in (embedded, hashed)
    )


def main() -> None:
    """Measure, print and record."""
    train = load(Path(sys.argv[1]) / "gtsrb" / "train.npz")
    tracks, frames = train.tracks, train.frames
    began = time.process_time()
    base = near.prints(train.images)
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.choice(len(train), COPIES, replace=False))
    made = {}
    for name, images in changed(train.images[chosen], rng).items():
        ones = near.prints(images)
        found, _ = near.nearest_copies(ones, base, slice(0, COPIES))
        hit = found != NO_COPY
        by_embedding, by_hash = candidates(ones, base, chosen)
        made[name] = {
            "found": round(float((found == chosen).mean()), 4),
            "found, or a frame of the same track": round(
                float((hit & (tracks[found] == tracks[chosen])).mean()), 4
            ),
            "of another track": int((hit & (tracks[found] != tracks[chosen])).sum()),
            "candidate by embedding": by_embedding,
            "candidate by hash": by_hash,
        }
    row = np.flatnonzero((tracks[:-1] == tracks[1:]) & (frames[1:] == frames[:-1] + 1))
    similar = near.correlation(base, base, row, row + 1)
    consecutive = near.are_copies(base, base, row, row + 1, similar)
    within, _ = near.nearest_copies(base, base, slice(0, len(train)), same_set=True)
    other = np.flatnonzero((within != NO_COPY) & (tracks[np.maximum(within, 0)] != tracks))
    half = np.flatnonzero(frames % 2 == 0)
    rest = np.flatnonzero(frames % 2 == 1)
    leaked, _ = near.nearest_copies(
        near.prints(train.images[half]), near.prints(train.images[rest]), slice(0, len(half))
    )
    linked = leaked != NO_COPY
    same = linked & (tracks[half] == tracks[rest[np.maximum(leaked, 0)]])
    recovery = {}
    for share, name in ((1.0, "all frames"), (0.5, "half of the frames")):
        part = np.sort(rng.permutation(len(train))[: round(share * len(train))])
        sides = np.sqrt(train.original_size[part].astype(float).prod(axis=1))
        agreed = agreement(
            recovered_tracks(train.images[part], train.labels[part], sides, SEED), tracks[part]
        )
        recovery[name] = {
            "precision": round(agreed.precision, 4),
            "recall": round(agreed.recall, 4),
            "proposed": agreed.proposed,
            "recorded": agreed.recorded,
        }
    record = {
        "images": len(train),
        "sign_tracks": len(np.unique(tracks)),
        "copies_of_each_change": COPIES,
        "made_copies": made,
        "consecutive_frames": len(row),
        "consecutive_frames_found": round(float(consecutive.mean()), 4),
        "tracks_cut_in_two": len(np.unique(tracks[half])),
        "of_these_with_a_pair_found": round(
            len(np.unique(tracks[half][same])) / len(np.unique(tracks[half])), 4
        ),
        "images_with_a_copy_in_another_track": len(other),
        "of_these_of_another_class": int((train.labels[other] != train.labels[within[other]]).sum()),
        "track_recovery": recovery,
        "processor_seconds": round(time.process_time() - began, 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
