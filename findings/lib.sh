# Sourced by each finding: a temporary folder with a virtual environment of its own, removed at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'status=$?; rm -rf "$folder"; [ "$status" -eq 0 ] || echo "CHANGED, or it could not be run (exit code $status)" >&2' EXIT

# install NAME==VERSION ...: these packages into the environment, by the package index that pip is configured for.
install() {
    "${PYTHON:-python3}" -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "$@"
}

# run: the Python program on standard input, in the temporary folder. `show` prints a value, `same` ends with 1 where it changed.
run() {
    {
        cat <<'PY'
import importlib.metadata, os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
def versions(*names):
    print("versions:", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
def show(what, value):
    print(f"{what}: {value}")
def same(holds, claim):
    print(f"{'seen' if holds else 'NOT SEEN'}: {claim}")
    if not holds:
        sys.exit(1)
PY
        cat
    } > "$folder/finding.py"
    (cd "$folder" && "$folder/venv/bin/python" -I finding.py)
}
