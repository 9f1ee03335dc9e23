# make install: the command line. make report: from a fresh clone to an HTML safety report. make test: the tests. Only Python 3.11+ and make are needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export TF_CPP_MIN_LOG_LEVEL = 3
# One worker more than cores, because tests wait for disks and children; each takes about 2 GB.
WORKERS = $(shell $(PYTHON) -c "import os; print(min(4, (os.cpu_count() or 1) + 1))")
# The tests start many processes; each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install report test fast check nightly bench clean

$(READY): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and 'Python 3.11 to 3.13 is needed; set PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The command line alone: `.venv/bin/safeml`, from the locked versions.
install: $(READY)
	@echo "$(BIN)/safeml is ready; $(BIN)/safeml doctor shows what it can run."

# The float model, then its INT8 file. Succeeds when the reports were made, whatever the verdict; `safeml run` without --exit-zero is the gate.
report: $(READY)
	$(BIN)/safeml run --config models/lenet-rendered/safeml.toml --profile quick --out reports/lenet-rendered --force --exit-zero
	$(BIN)/safeml run --config models/lenet-rendered-int8/safeml.toml --profile quick --out reports/lenet-rendered-int8 --force --exit-zero --trial-bundle

# A file of tests shares its models, so it stays in one process; tests/budget.py puts the long files first.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Those of integration/ and property/ are all slow, and even to collect them takes a while.
fast: $(READY)
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile tests/unit tests/fault tests/oracle tests/security

# What needs luck or long: kills at random moments, the fuzzer, outside readers. It prints the seed of the kills, and SAFEML_NIGHTLY_SEED chooses one.
nightly: $(READY)
	seed=$${SAFEML_NIGHTLY_SEED:-$$(date +%j)}; echo "SAFEML_NIGHTLY_SEED=$$seed"; \
	SAFEML_NIGHTLY_SEED=$$seed $(BIN)/python -m pytest -m nightly --timeout 1800 tests/integration tests/security tests/fault

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every measurement, then docs/benchmarks.md of all records.
bench: $(READY)
	set -e; for script in $(filter-out benchmarks/table.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script; done
	$(BIN)/python benchmarks/table.py

clean:
	rm -rf .venv build dist *.egg-info
