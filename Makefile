# Everything runs in a virtual environment of its own; `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check lint types layers bench services samples clean

demo: $(STAMP)
	$(BIN)/fusionnode demo --out demo-out

# Where the services may not be installed, the tests that need them are skipped and listed; in CI that is a failure.
test: $(STAMP)
	@deploy/install-services.sh || [ -z "$$CI" ]
	$(BIN)/python -m pytest -m "not slow"

check: lint types layers test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

bench: $(STAMP)
	@deploy/install-services.sh
	$(BIN)/python -m tests.benchmarks.bench_ingest
	$(BIN)/python -m tests.benchmarks.bench_main_job
	$(BIN)/python -m tests.benchmarks.bench_fusers

services:
	deploy/install-services.sh

samples: $(STAMP)
	$(BIN)/python -m dicom_samples.make_samples

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fusionnode needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
