"""Bounds on everything that a device reads before, or as part of, deciding whether to believe it."""

ENVELOPE_BYTES = 64 * 1024
MANIFEST_BYTES = 64 * 1024
SETTINGS_BYTES = 64 * 1024
KEY_FILE_BYTES = 4 * 1024

# JSON: nesting, values in all, characters of one text, and the largest integer that every reader holds exactly.
JSON_DEPTH = 16
JSON_VALUES = 20000
JSON_TEXT = 64 * 1024
JSON_INTEGER = 2**53
JSON_NUMBER_CHARACTERS = 40

SIGNATURES = 8
KEYS = 16
REVOKED = 256
SUBJECTS = 64
GATES = 1000
TEXT = 500

FILES = 512
FILE_BYTES = 2 * 1024**3
NAME_CHARACTERS = 200
NAME_PARTS = 8
RELEASE = 2**31 - 1
CLASSES = 10000
FEATURES = 65536
SIDE = 8192
OUTPUTS = 8
VERSIONS = 32
MEMORY_MB = 2**20

# Bytes that are hashed and written at a time.
CHUNK = 1024 * 1024
