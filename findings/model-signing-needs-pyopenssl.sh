#!/usr/bin/env bash
# Claim: model-signing of OpenSSF, installed alone, cannot be imported: it imports OpenSSL, and none of the packages that it requires
#   brings pyOpenSSL.
# Matters where: a release pipeline installs the package that its model is to be signed with.
# Versions: model-signing 1.1.1, sigstore 4.5.1, cryptography 50.0.2
# Source: model-signing, README ("pip install model-signing") and the requirements of its distribution
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install model-signing==1.1.1 sigstore==4.5.1 cryptography==50.0.2
run <<'PY'
import importlib.metadata

versions("model-signing", "sigstore", "cryptography")
required = importlib.metadata.requires("model-signing")
show("requirements", [name for name in required if "extra" not in name])
same(not any("openssl" in name.lower() for name in required), "no requirement, of an extra either, is pyOpenSSL")
try:
    import model_signing
except ModuleNotFoundError as error:
    show("import model_signing", error)
    same(error.name == "OpenSSL", "the import ends, because there is no module OpenSSL")
else:
    same(False, "the import ends, because there is no module OpenSSL")
PY
