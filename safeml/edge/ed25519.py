"""Verification of Ed25519 signatures (RFC 8032) by `cryptography`, else by the system's libcrypto, else not at all.

Both are OpenSSL inside and check without the cofactor. What they would be asked is narrowed here first, so that both give the same
answers: a public key must be canonical and not of small order (such a key verifies signatures of every message), and the
number S of a signature must be below the order of the group (else a signature could be changed into another valid one).
A key on no point of the curve and an R that is not canonical are no special cases: no signature with them verifies.
"""

import os
import stat
import warnings
from typing import Any, Callable, List, Optional, Tuple

from .errors import Refused

Check = Callable[[bytes, bytes, bytes], bool]

PUBLIC_BYTES, SIGNATURE_BYTES = 32, 64
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
# Coordinate y of the eight points whose order divides 8: 0 (order 4), 1 (1), -1 (2) and two of order 8.
EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = frozenset((0, 1, PRIME - 1, EIGHTH, PRIME - EIGHTH))
# RFC 8032, section 7.1, test 2: a library has to accept it, and to refuse it for another message, before it is believed.
KNOWN_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
KNOWN_MESSAGE = b"\x72"
KNOWN_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)

# Where a Linux system keeps its libraries. The loader's own search would follow LD_LIBRARY_PATH, and ctypes.util runs programs.
MACHINE = os.uname().machine
FOLDERS = (
    f"/lib/{MACHINE}-linux-gnu",
    f"/usr/lib/{MACHINE}-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)
LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1")
EVP_PKEY_ED25519 = 1087


def check_public(public: bytes, where: str) -> None:
    """Refuse a public key of another length, one that is not canonical and one of small order.

    where: file or setting, for the message.
    """
    if len(public) != PUBLIC_BYTES:
        raise Refused(
            "unusable-key",
            f"{where} has {len(public)} bytes; expected the {PUBLIC_BYTES} of an Ed25519 public key.",
        )
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= PRIME or y in SMALL_ORDER:
        raise Refused(
            "unusable-key",
            f"{where} is not canonical or of small order, so that a signature of one message would fit others; make a new key with `safeml keys new`.",
        )


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the signature of the message is by the owner of the public key.

    public: 32 bytes. signature: another length than 64 bytes is false.
    Raises Refused with "unusable-key" (see `check_public`) or "no-crypto".
    """
    check_public(public, "the public key")
    if len(signature) != SIGNATURE_BYTES or int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    return checker()(public, message, signature)


_checkers = []  # type: List[Check]


def checker() -> Check:
    """Return the first way of verification that works on this device."""
    if not _checkers:
        for make in (by_cryptography, by_libcrypto):
            check = make()
            if check is not None:
                _checkers.append(check)
                break
        else:
            raise Refused(
                "no-crypto",
                "this device has neither the Python package cryptography (2.6 or newer) nor libcrypto (1.1.1 or newer) in the system's folders; install one of them.",
            )
    return _checkers[0]


def by_cryptography() -> Optional[Check]:
    """Return verification by the package `cryptography`, or None where it cannot verify Ed25519."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its end of support for old versions of Python
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except Exception:  # absent, older than 2.6, or broken: libcrypto is next
        return None

    def check(public: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return _tried(check)


def by_libcrypto() -> Optional[Check]:
    """Return verification by the libcrypto of the system through ctypes, or None where there is none from 1.1.1 on."""
    try:
        import ctypes
    except ImportError:
        return None
    for path in libraries():
        try:
            check = _tried(_bound(ctypes, ctypes.CDLL(path)))
        except (OSError, AttributeError):  # of another architecture, or older than 1.1.1
            continue
        if check is not None:
            return check
    return None


def libraries(folders: Tuple[str, ...] = FOLDERS) -> List[str]:
    """Return the paths of libcrypto in `folders` that only root or this user may change."""
    result = []
    for folder in folders:
        for name in LIBRARIES:
            path = os.path.realpath(os.path.join(folder, name))
            try:
                facts = [os.stat(path), os.stat(os.path.dirname(path))]
            except OSError:
                continue
            if stat.S_ISREG(facts[0].st_mode) and all(
                not fact.st_mode & 0o022 and fact.st_uid in (0, os.getuid()) for fact in facts
            ):
                result.append(path)
    return result


def _bound(ctypes: Any, library: Any) -> Check:
    new_key, free_key = library.EVP_PKEY_new_raw_public_key, library.EVP_PKEY_free
    new_context, free_context = library.EVP_MD_CTX_new, library.EVP_MD_CTX_free
    begin, verify, clear = library.EVP_DigestVerifyInit, library.EVP_DigestVerify, library.ERR_clear_error
    pointer, data, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    new_key.argtypes, new_key.restype = [ctypes.c_int, pointer, data, size], pointer
    new_context.argtypes, new_context.restype = [], pointer
    begin.argtypes, begin.restype = [pointer, pointer, pointer, pointer, pointer], ctypes.c_int
    verify.argtypes, verify.restype = [pointer, data, size, data, size], ctypes.c_int
    free_key.argtypes, free_key.restype = [pointer], None
    free_context.argtypes, free_context.restype = [pointer], None
    clear.argtypes, clear.restype = [], None

    def check(public: bytes, message: bytes, signature: bytes) -> bool:
        key = new_key(EVP_PKEY_ED25519, None, public, len(public))
        if not key:
            clear()
            return False
        context = new_context()
        try:
            if not context or begin(context, None, None, None, key) != 1:
                return False
            # 1 is "valid"; 0 and negative numbers are not.
            return bool(verify(context, signature, len(signature), message, len(message)) == 1)
        finally:
            if context:
                free_context(context)
            free_key(key)
            clear()

    return check


def _tried(check: Check) -> Optional[Check]:
    """Return the check if it accepts the known signature and refuses it for another message; None otherwise."""
    try:
        works = check(KNOWN_PUBLIC, KNOWN_MESSAGE, KNOWN_SIGNATURE) and not check(
            KNOWN_PUBLIC, b"", KNOWN_SIGNATURE
        )
    except Exception:  # UnsupportedAlgorithm: the package is built with an OpenSSL before 1.1.1
        return None
    return check if works else None
