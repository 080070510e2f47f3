# Microflow. `make` alone lists the targets; any of them works on a fresh clone, because each first makes the environment.
#
#   PROFILE=quick|paper   how long the experiments may take (8 minutes on two cores; for a paper what `microflow experiments plan` says)
#   PYTHON=python3.12     the interpreter the environment is made with (3.11 or newer)
#   FORCE=1               run experiments again although the database holds them
#   BUNDLE=results.zip    the recording that `make reproduce` repeats, instead of the database's own
#   DATABASE_URL, SPARK_MASTER, KAFKA_BOOTSTRAP_SERVERS   your own servers instead of the embedded ones

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Wherever make is called from, paths are those of the repository.
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

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(ROOT)/Makefile
	@echo
	@echo "  The main job:  make experiments        (PROFILE=$(PROFILE), then look into figures/)"

.PHONY: env
env: $(READY) ## Make the Python environment, once; find Java or install it

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
experiments: $(READY) ## Run the research questions by Papermill, end with the figures (PROFILE=quick or paper, FORCE=1)
	@$(MICROFLOW) experiments run --profile $(PROFILE) $(if $(FORCE),--force)

.PHONY: figures
figures: $(READY) ## Draw the figures and tables again, from the database only
	@$(MICROFLOW) figures --profile $(PROFILE)

.PHONY: readme
readme: $(READY) ## Write the results in RESULTS.md and README from the database only (PROFILE=paper unless named)
	@$(MICROFLOW) figures --profile $(PRINTED)
	@$(MICROFLOW) figures --profile $(PRINTED) --readme --into RESULTS.md
	@$(MICROFLOW) figures --profile $(PRINTED) --readme --into README.md
	@cd $(ROOT) && cp figures/privacy-utility.png figures/readme.png

.PHONY: peers
peers: $(READY) ## Measure beside other tools and write the table of docs/peers.md (a few minutes)
	@$(MICROFLOW) bench peers --json data/peers.json --into docs/peers.md

.PHONY: reproduce
reproduce: $(READY) ## Run recorded trials again, list every difference (PROFILE=paper unless named, BUNDLE=results.zip)
	@$(MICROFLOW) experiments reproduce --profile $(PRINTED) $(if $(BUNDLE),"$(if $(filter /%,$(BUNDLE)),,$(CURDIR)/)$(BUNDLE)")

.PHONY: lab
lab: $(READY) ## Open JupyterLab on the notebooks (ARGS='--no-browser --port 8889' for its own options)
	@cd $(ROOT) && $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks

.PHONY: test
# The notebooks measure for a minute each: they go first, so that no core waits for them at the end.
test: $(READY) ## Run the tests and the notebooks (pytest and nbval)
	@cd $(ROOT) && $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --nbval-lax \
	  --ignore notebooks/executed notebooks src tests

# Demonstrations tokenize with a key of their own where none is set; nobody keeps it.
DEMO_KEY := export MICROFLOW_TOKEN_KEY="$${MICROFLOW_TOKEN_KEY:-$$($(BIN)/python -c 'import secrets; print(secrets.token_hex(32))')}"

.PHONY: storm
storm: $(READY) ## Run the stream topology on Apache Storm and check it against the in-process run
	@$(DEMO_KEY); $(MICROFLOW) storm run

.PHONY: kafka
kafka: $(READY) ## Serve a topic by three processes, kill one and the broker, and check that every record is there once
	@$(DEMO_KEY); $(MICROFLOW) kafka run

.PHONY: faults
faults: $(READY) ## Kill, cut and fill up at seeded points; print cases, losses and duplicates
	@cd $(ROOT)/tests && $(BIN)/python -m faults

.PHONY: attack
attack: $(READY) ## Try hostile inputs and look for leaks in everything a job leaves; print cases and leaks
	@cd $(ROOT)/tests && $(BIN)/python -m attack

.PHONY: fuzz
fuzz: $(READY) ## Give every reader, loader and decoder whatever comes, for an hour (MINUTES=60); print what does not stand it
	@cd $(ROOT)/tests && $(BIN)/python -m fuzz --minutes $${MINUTES:-60}

.PHONY: lint
lint: $(READY) ## ruff, formatting, mypy --strict
	@cd $(ROOT) && $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

.PHONY: audit
audit: $(READY) ## Look the locked packages up in the vulnerability database, where it can be reached
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
lock: $(READY) ## Resolve pyproject.toml again into requirements.lock and environment.yml
	@cd $(ROOT) && $(BIN)/python .ci/lock.py

.PHONY: clean
clean: ## Remove what the targets made, but neither the environment nor the database
	@rm -rf $(ROOT)/notebooks/executed $(ROOT)/build $(ROOT)/spark-warehouse $(ROOT)/.pytest_cache $(ROOT)/.mypy_cache $(ROOT)/.ruff_cache
	@find $(ROOT)/data $(ROOT)/figures -mindepth 1 ! -name README.md ! -name paper.zip ! -name peers.json ! -name readme.png ! -name paper.tex -delete
