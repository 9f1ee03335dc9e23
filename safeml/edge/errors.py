"""How a command of the device ends without success, its exit code, and the code of each refusal.

EdgeFailure
    ├── Usage       2    an argument or a setting is invalid
    ├── EdgeError   4    something failed on the device
    └── Refused     5    a bundle, a key or an engine was refused, with a reason code

A message is one sentence: what was found, what was expected, where, what to do.
"""

from .output import printable

FINE, BELOW, USAGE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 4, 5, 130

# Every reason code with its meaning, one row each; docs/edge.md holds the same table.
REFUSALS = (
    # What is read before the signature.
    ("not-a-file", "The path is no regular file, so its length is unknown."),
    ("not-a-bundle", "The file does not begin as a bundle of this format begins."),
    ("envelope-length", "The declared length of the envelope is zero or above the limit."),
    ("manifest-length", "The declared length of the manifest is zero or above the limit."),
    ("truncated", "The file ends before the declared content does."),
    ("extra-bytes", "The file has more bytes than its manifest declares."),
    ("envelope-invalid", "The signature envelope is not the DSSE envelope that safeml writes."),
    # Who signed.
    ("no-crypto", "The device has no library that verifies Ed25519 signatures."),
    ("unusable-key", "A trust key is no usable Ed25519 public key."),
    ("unsafe-settings", "Other users may change the device settings or a trust key."),
    ("unsigned", "The bundle has no signature."),
    ("unknown-key", "No trust key of the device has signed the bundle."),
    ("key-revoked", "The key that signed the bundle is revoked."),
    ("key-expired", "The key that signed the bundle is past its last day."),
    ("bad-signature", "A signature by a trust key does not verify."),
    # What was signed.
    ("payload-type", "The signed payload is no in-toto statement."),
    ("statement-invalid", "The signed statement is not a test result of safeml."),
    ("manifest-mismatch", "The signed statement is about another manifest."),
    ("manifest-invalid", "The manifest breaks the format."),
    ("wrong-product", "The bundle is for another product."),
    ("rollback", "The release is older than the one that the device has had."),
    ("same-release", "The device has already had this release."),
    ("clock-behind", "The clock of the device is before the day on which the bundle was made."),
    ("expired", "The bundle is past its last day."),
    ("no-expiry", "The bundle never expires, and the device requires that it does."),
    ("runtime-too-old", "The bundle needs a newer edge runtime."),
    ("device-unknown", "A fact of the device that the bundle constrains could not be read."),
    ("wrong-architecture", "The bundle is for another processor architecture."),
    ("wrong-compute-capability", "The bundle is for GPUs of another compute capability."),
    ("wrong-tensorrt", "The bundle is for other versions of TensorRT."),
    ("wrong-jetpack", "The bundle is for other versions of JetPack."),
    ("too-little-memory", "The device has less memory than the bundle needs."),
    ("mix-and-match", "The statement and the manifest are of different releases, products or files."),
    ("override-not-allowed", "The bundle was released by an override, and the device accepts none."),
    # The files.
    ("duplicate-file", "The manifest lists one file twice."),
    ("case-collision", "Two file names differ in case alone."),
    ("file-name", "A file name is unsafe or out of order."),
    ("file-not-listed", "The manifest uses a file that it does not list."),
    ("hash-mismatch", "The content of a file is not the content that was signed."),
    ("missing-file", "A file of the manifest is not in the slot."),
    ("wrong-length", "A file in the slot has not the length that was signed."),
    ("extra-file", "The slot holds a file that the manifest does not list."),
    ("unsafe-folder", "Other users may change the slot, or it holds a link."),
    # Updates.
    ("locked", "Another process changes the slots at present."),
    ("index", "The index of an update source breaks its format or is for another product."),
    (
        "source",
        "An update source is not https, redirects elsewhere, or sends another length than its index says.",
    ),
    ("delta", "A difference file is damaged or does not fit the active release."),
    ("in-probation", "The active release is in probation, and the other slot holds the one to go back to."),
    ("probation-open", "The probation of the active release is not passed."),
    ("no-other-release", "The other slot holds no committed release to go back to."),
    ("shadow-open", "No release runs in shadow mode, or its counts are not under the limits."),
)
REASONS = dict(REFUSALS)


class EdgeFailure(Exception):
    """A command that ends without success, for a reason that the user can act on."""

    exit_code = FAILED

    def __init__(self, message: str) -> None:
        # A message may show a path or a name from a file: it stays one line that a terminal prints as it is.
        self.message = printable(message)
        super().__init__(self.message)


class Usage(EdgeFailure):
    """An invalid argument or setting."""

    exit_code = USAGE


class EdgeError(EdgeFailure):
    """A failure on the device that is no refusal: no space, no permission, a step that did not end."""


class DiskError(EdgeError, OSError):
    """A file that could not be written: for a command a failure in one sentence, for what undoes a step an OSError as any other.

    error: of the system.
    """

    def __init__(self, path: str, error: OSError) -> None:
        EdgeError.__init__(
            self,
            f"{path}: cannot be written ({error.strerror or error}); free space, or check the folder and its rights.",
        )
        self.strerror = error.strerror


class Refused(EdgeFailure):
    """A bundle, a key or an engine that the device does not accept.

    reason: one of `REASONS`.
    """

    exit_code = REFUSED

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason} is no reason code; add it to REFUSALS.")
        super().__init__(message)
        self.reason = reason

    def __str__(self) -> str:
        return f"[{self.reason}]: {self.message}"
