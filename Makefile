# Needs nothing but make and Python 3.11 or newer; `make help` lists targets.

PYTHON ?= python3
VENV ?= .venv
# Two processes suit a laptop: each compiles with all the cores it finds.
WORKERS ?= 2
# Files in order; by number of tests the longest, which has one, would be last.
SPREAD := --dist loadfile --no-loadscope-reorder
# Every demo starts afresh; name a WORKDIR to resume one.
WORKDIR ?= runs/demo/$(shell date +%Y%m%d-%H%M%S)
# More flags for the demo, as in ARGS='--config.seed=1'.
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint format lock clean

help:  ## List the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

venv: $(READY)  ## Set up .venv with the pinned versions.

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "$(PYTHON) is too old: make PYTHON=python3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements.lock
	$(PIP) install --quiet --no-deps -e .
	@touch $@

demo: $(READY)  ## Train an agent from pixels and evaluate it, in minutes.
	$(BIN)/python -m dreamer_nnx.main --config=configs/demo.py \
	  --workdir=$(WORKDIR) --mode=train_and_evaluate $(ARGS)

test: $(READY)  ## Run the tests.
	$(BIN)/python -m pytest -q -n $(WORKERS) $(SPREAD)

lint: $(READY)  ## Check style and formatting.
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(READY)  ## Fix what can be fixed of both.
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

lock: $(READY)  ## Pin the newest versions that pyproject.toml allows.
	$(PIP) install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --allow-unsafe --strip-extras \
	  --upgrade --no-annotate --no-header --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host \
	  --output-file requirements.tmp pyproject.toml
	@{ echo '# All versions of `.[dev]`, pinned by `make lock`.'; \
	  grep -E '^[a-z0-9.-]+==' requirements.tmp; } > requirements.lock
	@rm requirements.tmp

clean:  ## Remove caches and build products; keeps .venv and runs.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune \
	  -exec rm -rf {} +
