# make repro on a fresh clone is all it takes; everything else is a convenience. `make help` lists the targets.
PYTHON ?= python3.11
PROFILE ?= cpu
JOBS ?= 2
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install repro test lint doctor params bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: .venv/installed  ## make .venv and install requirements.txt

.venv/installed: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "error: $(PYTHON) not found; install Python 3.11 or set PYTHON="; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

repro: install  ## run the pipeline (JOBS stages at a time) and print the headline numbers
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m genesis repro --jobs $(JOBS)

test: .venv/installed-dev  ## run the tests, JOBS files at a time
	@PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --no-loadscope-reorder

lint: .venv/installed-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

doctor: install  ## check this machine and clone
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m genesis doctor

params: install  ## compose conf/ into params.yaml (PROFILE=smoke|cpu|h200|h100x8)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m genesis params profile=$(PROFILE)

bench: .venv/installed-dev  ## run the benchmarks
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:  ## drop interrupted attempts' checkpoints (never finished results)
	rm -rf .cache
