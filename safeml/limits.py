"""Bounds on untrusted input in one place. Input that exceeds a bound is refused before it is read.

A bound of only one parser (fields of a protobuf message, chunks of an HDF5 array) is at the head of its file.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """Bounds on input. Sizes are in bytes, or in pixels if the name says so.

    image_file_bytes, image_pixels: one image file, as stored and as declared in its header.
    images, classes: rows and distinct classes of one data set.
    array_bytes: all arrays read from one .npz file, uncompressed; also the pixels of any loaded set.
    array_members: entries of one .npz file.
    table_bytes, record_bytes: one CSV file; one record of the epochs of a training.
    track_number: number of a track in its class.
    download_bytes, archive_members, unpacked_bytes: one downloaded archive, its entries, and its content.
    model_bytes, model_files: one model, as a file or a folder, and the files of such a folder.
    config_bytes, config_depth, config_values, config_string: the JSON configuration of a model, its nesting, its values, and
        one text in it. The largest network of keras.applications has 1.1 MB and 65,000 values.
    hyperparameter: an integer of a configuration (units, filters, a side of the input).
    expansion: unpacked bytes per stored byte, in archives and in HDF5 files.
    hdf5_objects, hdf5_chunk_bytes, hdf5_attribute_bytes: groups and datasets of one file, one chunk, one attribute.
    hdf5_overhead_bytes: content of a file beside its arrays. The largest of keras.applications has 5 MB of it.
    scan_memory, scan_seconds, scan_bytes_per_second: of the scan process: memory beyond its start; wall-clock time for any
        file, and more for a large one.
    load_memory, load_seconds: of the trial-load process, beyond the framework.
    """

    image_file_bytes: int = 32 * MIB
    image_pixels: int = 40_000_000
    images: int = 1_000_000
    classes: int = 10_000
    array_bytes: int = 4 * GIB
    array_members: int = 64
    table_bytes: int = 64 * MIB
    record_bytes: int = 2 * MIB
    track_number: int = 999_999_999
    download_bytes: int = 1 * GIB
    archive_members: int = 200_000
    unpacked_bytes: int = 4 * GIB
    model_bytes: int = 4 * GIB
    model_files: int = 1_000
    config_bytes: int = 8 * MIB
    config_depth: int = 64
    config_values: int = 300_000
    config_string: int = 1_000
    hyperparameter: int = 1_000_000
    expansion: int = 100
    hdf5_objects: int = 20_000
    hdf5_chunk_bytes: int = 16 * MIB
    hdf5_attribute_bytes: int = 8 * MIB
    hdf5_overhead_bytes: int = 24 * MIB
    scan_memory: int = 96 * MIB
    scan_seconds: int = 20
    scan_bytes_per_second: int = 16 * MIB
    load_memory: int = 2 * GIB
    load_seconds: int = 300


LIMITS = Limits()
