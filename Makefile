# Everything runs in a virtual environment of its own; `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/peers
VIEWERS := $(VENV)/viewers
OHIF := @ohif/app@3.12.10

.PHONY: demo test test-slow check lint types layers bench bench-memory bench-registration calibrate-registration chaos soak fuzz services samples verdicts conformance screenshots clean

demo: $(STAMP)
	$(BIN)/fusionnode demo --out demo-out

# Where the services may not be installed, the tests that need them are skipped and listed; in CI that is a failure.
# Four processes share out whole files, as many tests wait; WORKERS=0 runs all in one, which a debugger needs.
WORKERS ?= 4
test: $(STAMP)
	@deploy/install-services.sh || [ -z "$$CI" ]
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Whole batches, every real series and every odd input, soaks of training: an hour on 2 cores.
# What is seen in a browser is left to `make screenshots`.
test-slow: $(STAMP)
	@deploy/install-services.sh
	$(BIN)/python -m pytest -m "slow and not viewers"

# Kills every process at every point, takes away broker, database, PACS, disk and time: minutes; prints a table.
chaos: $(STAMP)
	@deploy/install-services.sh
	$(BIN)/python -m tests.chaos.run

# Ten thousand instances from eight senders at once while workers come and go: sent within MINUTES.
MINUTES ?= 15
soak: $(STAMP)
	@deploy/install-services.sh
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

# Strange bytes to the listener, the header reader and the volume reader at the same time, for MINUTES; what it learned is
# kept in build/fuzz, and it goes on from there. Fails with the input that broke something.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group fuzz
	$(BIN)/python -m tests.fuzz.campaign build/fuzz --minutes $(MINUTES)

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
	$(BIN)/python -m tests.benchmarks.bench_batch
	$(BIN)/python -m tests.benchmarks.bench_fusers
	$(BIN)/python -m tests.benchmarks.bench_decoding

# Needs 4 GB of disk and some minutes; fails where a worker passes 2 GB.
bench-memory: $(STAMP)
	$(BIN)/python -m tests.benchmarks.bench_memory

# ANTs and elastix beside ours: hours on 2 cores, and goes on where it was stopped; QUICK=--quick takes minutes.
bench-registration: $(STAMP) $(PEERS)/.installed
	$(BIN)/python -m tests.benchmarks.bench_registration $(QUICK)

# How often the verdict on a registration is wrong: an hour on 2 cores, and goes on where it was stopped; QUICK=--quick.
# Then the same on the real people of the public data, where it is there.
calibrate-registration: $(STAMP)
	$(BIN)/python -m tests.benchmarks.calibrate_registration --jobs 2 $(QUICK)
	$(BIN)/python -m tests.benchmarks.calibrate_people
	$(BIN)/python -m tests.benchmarks.calibrate_real

$(PEERS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet --group bench
	touch $@

services:
	deploy/install-services.sh

samples: $(STAMP)
	$(BIN)/python -m dicom_samples.make_samples

# Every edge case and all of the public data through a node and `fusionnode fuse`: minutes to an hour.
verdicts: $(STAMP)
	$(BIN)/python -m tests.support.verdicts
	$(BIN)/python -m pytest tests/dicom_samples/test_edge_cases.py tests/system/test_every_input.py

# The tables of the conformance statement, from the code; a test fails where they lag behind.
conformance: $(STAMP)
	$(BIN)/python -m tests.support.conformance

# Pictures of what viewers show, to be looked at, and the same measured pixel by pixel: some minutes. OHIF comes by npm.
screenshots: $(STAMP) $(VIEWERS)/ohif/index.html
	@deploy/install-services.sh --viewers
	$(BIN)/python -m tests.viewers.screenshots screenshots-out
	$(BIN)/python -m pytest tests/system/test_viewers.py

$(VIEWERS)/ohif/index.html: Makefile
	rm -rf $(VIEWERS)
	mkdir -p $(VIEWERS)/ohif
	if command -v npm > /dev/null; then \
	  npm pack --silent --pack-destination $(VIEWERS) $(OHIF) && \
	  tar --extract --touch --gzip --file $(VIEWERS)/ohif-app-*.tgz --directory $(VIEWERS)/ohif --strip-components 2 package/dist; \
	  fi

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fusionnode needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo-out screenshots-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
