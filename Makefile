# Microflow. `make` alone lists the targets. Each of them works in a fresh clone, because it first creates the environment.
#
#   PROFILE=quick|paper   the size of the experiments (quick: some minutes; paper: see `microflow experiments plan`)
#   PYTHON=python3.12     the Python of the environment (3.11 or newer)
#   FORCE=1               run experiments again that the database already contains
#   BUNDLE=results.zip    the recorded trials that `make reproduce` repeats, instead of those of the database
#   DATABASE_URL, SPARK_MASTER, KAFKA_BOOTSTRAP_SERVERS   your own servers instead of the embedded ones

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Paths are those of the repository, from whatever folder make is called.
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))

PYTHON ?= python3
# What is printed and what is reproduced are the paper's trials unless a profile is named.
PRINTED := $(if $(filter undefined,$(origin PROFILE)),paper,$(PROFILE))
PROFILE ?= quick
ROWS ?= 100000
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# An activated conda environment made from environment.yml is used as it is.
ifeq ($(CONDA_DEFAULT_ENV),microflow)
BIN := $(CONDA_PREFIX)/bin
READY := $(CONDA_PREFIX)/.microflow-ready
endif
MICROFLOW := cd $(ROOT) && $(BIN)/microflow
# Benchmarks belong to the checkout, not to the package.
BENCH := cd $(ROOT) && PYTHONPATH=tests $(BIN)/python -m benchmarks

.PHONY: help
help: ## This list
	@bold= plain=; if [ -t 1 ]; then bold='\033[1m' plain='\033[0m'; fi; \
	  awk -F ':.*## ' "/^[a-z-]+:.*## / {printf \"  $$bold%-14s$$plain %s\\n\", \$$1, \$$2}" $(ROOT)/Makefile
	@echo
	@echo "  The main job:  make experiments        (PROFILE=$(PROFILE), then look into figures/)"

.PHONY: env
env: $(READY) ## Create the Python environment, once; find Java or install it

$(VENV)/.ready: $(ROOT)/requirements.lock $(ROOT)/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: Python 3.11 or newer is needed; say which with  make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Making the environment in .venv (once, a few minutes) ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(ROOT)/requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e $(ROOT)
	@$(VENV)/bin/python -m microflow.jvm
	@$(VENV)/bin/microflow storm fetch
	@touch $@

$(CONDA_PREFIX)/.microflow-ready: $(ROOT)/environment.yml $(ROOT)/pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e $(ROOT)
	@touch $@

.PHONY: experiments
experiments: $(READY) ## Run the research questions and draw the figures (PROFILE=quick or paper, FORCE=1)
	@$(MICROFLOW) experiments run --profile $(PROFILE) $(if $(FORCE),--force)

.PHONY: figures
figures: $(READY) ## Draw the figures and tables from the database, without a new trial
	@$(MICROFLOW) figures --profile $(PROFILE)

.PHONY: readme
readme: $(READY) ## Write RESULTS.md and the README's results from the database (PROFILE=paper by default)
	@$(MICROFLOW) figures --profile $(PRINTED)
	@$(MICROFLOW) figures --profile $(PRINTED) --readme --into RESULTS.md
	@$(MICROFLOW) figures --profile $(PRINTED) --readme --into README.md
	@cd $(ROOT) && cp figures/privacy-utility.png figures/readme.png

.PHONY: peers
peers: $(READY) ## Measure other tools beside Microflow, write the table of docs/peers.md (some minutes)
	@$(BENCH) peers --json data/peers.json --into docs/peers.md

.PHONY: bench
bench: $(READY) ## Measure speeds beside their references (SUITE=compliance, or another; ARGS, e.g. "--rows 100000")
	@$(BENCH) $(or $(SUITE),compliance) $(ARGS)

.PHONY: reproduce
reproduce: $(READY) ## Run recorded trials again and list every difference (PROFILE=paper by default, BUNDLE=results.zip)
	@$(MICROFLOW) experiments reproduce --profile $(PRINTED) $(if $(BUNDLE),"$(if $(filter /%,$(BUNDLE)),,$(CURDIR)/)$(BUNDLE)")

.PHONY: lab
lab: $(READY) ## Open JupyterLab on the notebooks (ARGS='--no-browser --port 8889')
	@cd $(ROOT) && $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks

.PHONY: test
# The notebooks measure for a minute each: they go first, so that no core waits for them at the end.
test: $(READY) ## Run the tests and the notebooks (pytest and nbval)
	@cd $(ROOT) && $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --nbval-lax \
	  --ignore notebooks/executed notebooks src tests

# Demonstrations make tokens with a key of their own if none is set; it is not kept.
DEMO_KEY := export MICROFLOW_TOKEN_KEY="$${MICROFLOW_TOKEN_KEY:-$$($(BIN)/python -c 'import secrets; print(secrets.token_hex(32))')}"

.PHONY: storm
storm: $(READY) ## Run the stream topology on Apache Storm, compare it with the in-process run
	@$(DEMO_KEY); $(MICROFLOW) storm run

.PHONY: kafka
kafka: $(READY) ## Test the recovery of streams: kill a process and the broker, check that each record arrives once
	@$(DEMO_KEY); $(MICROFLOW) kafka run

.PHONY: faults
faults: $(READY) ## Kill processes, cut connections, fill disks; print lost and duplicate rows
	@cd $(ROOT)/tests && $(BIN)/python -m faults

.PHONY: attack
attack: $(READY) ## Try hostile inputs, search for personal values in everything that a job leaves; print leaks
	@cd $(ROOT)/tests && $(BIN)/python -m attack

.PHONY: fuzz
fuzz: $(READY) ## Send random input to every reader, loader and decoder for an hour (MINUTES=60); print what fails
	@cd $(ROOT)/tests && $(BIN)/python -m fuzz --minutes $${MINUTES:-60}

.PHONY: lint
lint: $(READY) ## ruff, formatting, mypy --strict
	@cd $(ROOT) && $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

.PHONY: audit
audit: $(READY) ## Check the locked packages for known vulnerabilities
	@cd $(ROOT) && status=0; \
	found=$$($(BIN)/pip-audit --disable-pip --require-hashes --requirement requirements.lock --progress-spinner off 2>&1) || status=$$?; \
	if grep -q Traceback <<<"$$found"; then echo "the vulnerability database cannot be reached: nothing was audited"; exit 0; fi; \
	grep -v "could not be audited" <<<"$$found" || true; exit $$status

.PHONY: data
data: $(READY) ## Generate the four data sets into data/ (ROWS=100000)
	@for type in healthcare financial ecommerce iot; do \
	  ( $(MICROFLOW) generate $$type data/$$type.csv --overwrite --rows $(ROWS) --seed 1 --truth data/$$type.truth.csv ) || exit 1; \
	done

.PHONY: db-start
db-start: $(READY) ## Start the embedded PostgreSQL and print its address
	@$(MICROFLOW) db start

.PHONY: db-stop
db-stop: $(READY) ## Stop the embedded PostgreSQL
	@$(MICROFLOW) db stop

.PHONY: lock
lock: $(READY) ## Write requirements.lock and environment.yml from pyproject.toml
	@cd $(ROOT) && $(BIN)/python .ci/lock.py

.PHONY: clean
clean: ## Remove generated files, but not the environment or the database
	@rm -rf $(ROOT)/notebooks/executed $(ROOT)/build $(ROOT)/spark-warehouse $(ROOT)/.pytest_cache $(ROOT)/.mypy_cache $(ROOT)/.ruff_cache
	@find $(ROOT)/data $(ROOT)/figures -mindepth 1 ! -name README.md ! -name paper.zip ! -name peers.json ! -name readme.png ! -name paper.tex -delete
