#!/usr/bin/env bash
# Claim: model_signing of OpenSSF cannot sign with an encrypted key from its command line: --password is handed on as text, and the
#   reader of the key takes bytes. The same key and password sign through the Python function, if the password is given as bytes,
#   although its annotation says str.
# Matters where: the signing key of a model is encrypted, as keys should be, and a pipeline calls the documented command.
# Versions: model-signing 1.1.1, sigstore 4.5.1, pyopenssl 26.4.0, cryptography 50.0.2
# Source: model-signing, help of `model_signing sign key` ("Password for the key encryption, if any")
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install model-signing==1.1.1 sigstore==4.5.1 pyopenssl==26.4.0 cryptography==50.0.2
run <<'PY'
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing

versions("model-signing", "sigstore", "pyOpenSSL", "cryptography")
key = ec.generate_private_key(ec.SECP256R1())
for name, lock in (
    ("plain.pem", serialization.NoEncryption()),
    ("encrypted.pem", serialization.BestAvailableEncryption(b"secret")),
):
    Path(name).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    )
Path("model").mkdir()
Path("model/weights.bin").write_bytes(b"weights")


def sign(*options):
    command = [sys.executable, "-m", "model_signing", "sign", "key", "model", "--signature", "model.sig", *options]
    child = subprocess.run(command, capture_output=True, text=True)
    said = (child.stdout + child.stderr).strip().splitlines()
    show(" ".join(options), (child.returncode, [line for line in said if "buffer" in line or "Signing" in line]))
    return child.returncode == 0, " ".join(said)


done, _ = sign("--private_key", "plain.pem")
same(done, "a plain key signs")
done, said = sign("--private_key", "encrypted.pem", "--password", "secret")
same(not done and "Cannot convert" in said, "an encrypted key with its password does not: text is no buffer")
signing.Config().use_elliptic_key_signer(private_key=Path("encrypted.pem"), password=b"secret").sign(
    Path("model"), Path("bytes.sig")
)
same(Path("bytes.sig").is_file(), "the Python function takes the password as bytes")
PY
