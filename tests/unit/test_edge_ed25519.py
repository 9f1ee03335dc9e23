"""Ed25519: the vectors of RFC 8032 for both libraries, their agreement on malformed input, and which library is believed."""

from __future__ import annotations

import builtins
import ctypes
import os
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeml.bundle.signing import public_bytes
from safeml.edge import ed25519
from safeml.edge.ed25519 import EIGHTH, ORDER, PRIME, SMALL_ORDER, check_public, verify_signature
from tests.edge_bundles import KEY, refused

# RFC 8032, section 7.1: secret key, public key, message, signature of tests 1, 2, 3 and SHA(abc).
VECTORS = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
)
Check = Callable[[bytes, bytes, bytes], bool]
WAYS = {"cryptography": ed25519.by_cryptography, "libcrypto": ed25519.by_libcrypto}


def way(name: str) -> Check:
    """The verification by one library; a test is skipped only where the library is absent, not where it gives no answer."""
    if name == "libcrypto" and not ed25519.libraries():
        pytest.skip("this system has no libcrypto of its own")
    check = WAYS[name]()
    assert check is not None
    return check


@pytest.fixture(params=sorted(WAYS))
def check(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Check:
    """verify_signature with one library."""
    monkeypatch.setattr(ed25519, "_checkers", [way(request.param)])
    return verify_signature


@pytest.mark.parametrize("vector", VECTORS, ids=["1", "2", "3", "abc"])
def test_the_vectors_of_the_rfc_verify(vector: tuple[str, str, str, str], check: Check) -> None:
    secret, public, message, signature = map(bytes.fromhex, vector)
    assert public_bytes(Ed25519PrivateKey.from_private_bytes(secret)) == public
    assert check(public, message, signature) is True
    assert check(public, message + b"\0", signature) is False
    for place in range(64):
        changed = bytearray(signature)
        changed[place] ^= 1
        assert check(public, message, bytes(changed)) is False, place


def test_a_signature_whose_number_is_not_canonical_is_false(check: Check) -> None:
    """S and S plus the order are the same number to the equation; one of them alone is a signature."""
    for _, public, message, signature in [tuple(map(bytes.fromhex, vector)) for vector in VECTORS]:
        larger = int.from_bytes(signature[32:], "little") + ORDER
        assert check(public, message, signature[:32] + larger.to_bytes(32, "little")) is False


def asked(public: bytes, message: bytes, signature: bytes) -> bool:
    raise AssertionError("the library was asked")


def test_no_library_is_asked_about_a_signature_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ed25519, "_checkers", [asked])
    public, good = public_bytes(KEY), KEY.sign(b"message")
    assert verify_signature(public, b"message", good[:63]) is False
    assert verify_signature(public, b"message", good + b"\0") is False
    assert verify_signature(public, b"message", good[:32] + ORDER.to_bytes(32, "little")) is False
    with pytest.raises(AssertionError, match="was asked"):
        verify_signature(public, b"message", good[:32] + (ORDER - 1).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_false(length: int, check: Check) -> None:
    assert check(public_bytes(KEY), b"message", bytes(length)) is False


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int, check: Check) -> None:
    with refused("unusable-key"):
        check(bytes(length), b"message", bytes(64))


# The curve of RFC 8032, section 5.1, in affine coordinates: what the table of small orders is compared with.
D = -121665 * pow(121666, -1, PRIME) % PRIME


def recovered(y: int) -> int | None:
    """An x with -x^2 + y^2 = 1 + d x^2 y^2, or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return x if (x * x - square) % PRIME == 0 else None


def added(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME) % PRIME
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME) % PRIME


def order(point: tuple[int, int]) -> int:
    total, count = point, 1
    while total != (0, 1):
        total, count = added(total, point), count + 1
        assert count <= 8
    return count


def test_the_table_is_that_of_all_points_of_small_order() -> None:
    x = recovered(EIGHTH)
    assert x is not None
    assert order((x, EIGHTH)) == 8
    multiples, point = [], (0, 1)
    for _ in range(8):  # the subgroup of order 8 is cyclic: its generator gives all of it
        multiples.append(point)
        point = added(point, (x, EIGHTH))
    assert point == (0, 1)
    assert {y for _, y in multiples} == SMALL_ORDER
    assert sorted(map(order, multiples)) == [1, 2, 4, 4, 8, 8, 8, 8]


@pytest.mark.parametrize("y", sorted(SMALL_ORDER))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_of_small_order_is_refused_before_a_library_sees_it(
    y: int, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ed25519, "_checkers", [asked])
    public = (y | sign << 255).to_bytes(32, "little")
    with refused("unusable-key"):
        verify_signature(public, b"message", KEY.sign(b"message"))


@pytest.mark.parametrize("y", [PRIME, PRIME + 1, 2**255 - 1])
def test_a_key_that_is_not_canonical_is_refused(y: int) -> None:
    for sign in (0, 1):
        with refused("unusable-key"):
            check_public((y | sign << 255).to_bytes(32, "little"), "key.pub")


def test_both_libraries_agree_on_random_and_malformed_input() -> None:
    first, second = way("cryptography"), way("libcrypto")
    choice = random.Random(8032)
    accepted = 0
    for _ in range(300):
        key = Ed25519PrivateKey.from_private_bytes(choice.randbytes(32))
        message = choice.randbytes(choice.choice((0, 1, 64, 1000)))
        public, signature = public_bytes(key), key.sign(message)
        kind = choice.randrange(6)
        if kind == 0:
            public = choice.randbytes(32)  # on no point of the curve, every other time
        elif kind == 1:
            signature = choice.randbytes(64)
        elif kind == 2:
            signature = signature[:32] + bytes(32)
        elif kind == 3:
            signature = (PRIME + choice.randrange(19)).to_bytes(32, "little") + signature[32:]
        elif kind == 4:
            signature = signature[: choice.randrange(64)]
        answers = (first(public, message, signature), second(public, message, signature))
        assert answers[0] == answers[1]
        assert answers[0] == (kind == 5)
        accepted += answers[0]
    assert accepted > 20


def test_a_key_on_no_point_of_the_curve_verifies_nothing(check: Check) -> None:
    y = next(y for y in range(2, 100) if y not in SMALL_ORDER and recovered(y) is None)
    assert check(y.to_bytes(32, "little"), b"message", KEY.sign(b"message")) is False


def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(ed25519, "_checkers", [])


def test_libcrypto_is_asked_where_cryptography_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    way("libcrypto")
    public, signature = public_bytes(KEY), KEY.sign(b"message")
    without_cryptography(monkeypatch)
    assert ed25519.by_cryptography() is None
    assert verify_signature(public, b"message", signature)
    assert not verify_signature(public, b"massage", signature)


def test_a_broken_cryptography_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def broken(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise OSError("undefined symbol")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert ed25519.by_cryptography() is None


def test_the_warning_of_an_old_python_is_kept_from_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Python 3.6 and 3.8 `cryptography` warns of the end of its support when it is imported."""
    original = builtins.__import__

    def warning(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            warnings.warn("the end of support", DeprecationWarning, stacklevel=2)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ed25519.by_cryptography() is not None


def test_without_a_library_everything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = KEY.sign(b"message")
    without_cryptography(monkeypatch)
    monkeypatch.setattr(ed25519, "libraries", list)
    with refused("no-crypto"):
        verify_signature(public_bytes(KEY), b"message", signature)


@pytest.mark.parametrize("answer", [True, False, None], ids=["always true", "always false", "an error"])
def test_a_library_is_believed_only_after_a_known_answer(answer: bool | None) -> None:
    def check(public: bytes, message: bytes, signature: bytes) -> bool:
        if answer is None:
            raise RuntimeError("unsupported")
        return answer

    assert ed25519._tried(check) is None


class Function:
    """A C function that counts its calls and returns what it is told."""

    def __init__(self, value: Any = None) -> None:
        self.value, self.calls = value, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.value


@pytest.mark.parametrize(
    ("key", "context", "begun", "verified", "answer"),
    [
        (1, 2, 1, 1, True),
        (1, 2, 1, 0, False),
        (1, 2, 1, -1, False),  # an error of OpenSSL is no signature
        (1, 2, 1, 2, False),
        (1, 2, 0, 1, False),
        (1, None, 1, 1, False),
        (None, 2, 1, 1, False),
    ],
)
def test_only_1_is_a_signature_and_everything_is_freed(
    key: int | None, context: int | None, begun: int, verified: int, answer: bool
) -> None:
    library = SimpleNamespace(
        EVP_PKEY_new_raw_public_key=Function(key),
        EVP_PKEY_free=Function(),
        EVP_MD_CTX_new=Function(context),
        EVP_MD_CTX_free=Function(),
        EVP_DigestVerifyInit=Function(begun),
        EVP_DigestVerify=Function(verified),
        ERR_clear_error=Function(),
    )
    check = ed25519._bound(ctypes, library)
    assert check(bytes(32), b"", bytes(64)) is answer
    assert library.EVP_PKEY_free.calls == (key is not None)
    assert library.EVP_MD_CTX_free.calls == (key is not None and context is not None)
    assert library.ERR_clear_error.calls == 1
    # Without a key or a context no further function sees a null pointer.
    assert library.EVP_MD_CTX_new.calls == (key is not None)
    assert library.EVP_DigestVerifyInit.calls == (key is not None and context is not None)
    assert library.EVP_DigestVerify.calls == (key is not None and context is not None and begun == 1)


def test_an_old_libcrypto_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.1.1 the functions are absent, and ctypes raises AttributeError."""
    monkeypatch.setattr(ed25519, "libraries", lambda: ["/lib/libcrypto.so.3"])
    monkeypatch.setattr(ctypes, "CDLL", lambda path: object())
    assert ed25519.by_libcrypto() is None


def test_only_libraries_that_no_other_user_may_change_are_loaded(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "libcrypto.so.3"
    file.write_bytes(b"")
    file.chmod(0o755)
    assert ed25519.libraries((str(tmp_path),)) == [str(file)]
    file.chmod(0o757)
    assert ed25519.libraries((str(tmp_path),)) == []
    file.chmod(0o755)
    tmp_path.chmod(0o777)
    assert ed25519.libraries((str(tmp_path),)) == []
    tmp_path.chmod(0o755)


def test_no_library_of_the_current_folder_or_the_environment_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ed25519.LIBRARIES:
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert all(os.path.isabs(path) and not path.startswith(str(tmp_path)) for path in ed25519.libraries())
