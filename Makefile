# Needs nothing but make and Python 3.11 or newer; `make help` lists targets.

VENV ?= .venv
# The Python of the environment, once there is one.
PYTHON ?= $(firstword $(wildcard $(VENV)/bin/python) python3)
# Extras beside those for development: EXTRA=cuda13. Remembered in the venv.
EXTRA ?= $(shell cat $(VENV)/.extra 2>/dev/null)
# Two processes suit a laptop: each compiles with all the cores it finds.
WORKERS ?= 2
# Files in order; by number of tests the longest, which has one, would be last.
SPREAD := --dist loadfile --no-loadscope-reorder
# Tests of parts; those beside them run the whole program.
QUICK := $(wildcard tests/*/) $(patsubst %,tests/test_%.py, \
  config imports layers overrides paths registry schema spaces)
# Every demo starts afresh; name a WORKDIR to resume one.
WORKDIR ?= runs/demo/$(shell date +%Y%m%d-%H%M%S)
# Interpreters for the matrix, and to try a release with.
PYTHONS ?= python3
# Suites of environments to try; all without a name.
SUITE ?=
# More flags for the demo, as in ARGS='--config.seed=1'.
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
VERSION := $(shell $(PYTHON) -c \
  'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# JAX 0.10.2 is the last for Python 3.11: the two ends of what is supported.
LOCK := $(if $(filter 3.11,$(VERSION)),requirements,requirements-newest).lock
READY := $(VENV)/.ready-$(VERSION)$(EXTRA:%=-%)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test whole quick kills matrix smoke tables docs release lint format lock clean

help:  ## List the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

venv: $(READY)  ## Set up .venv with the pinned versions; EXTRA=cuda13 for a GPU.

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit( \
	  not (3, 11) <= sys.version_info < (3, 15) and \
	  "$(PYTHON) is $(VERSION): make PYTHON=python3.11, or up to 3.14")'
	@test ! -x $(BIN)/python || $(BIN)/python -c 'import sys; sys.exit( \
	  "%d.%d" % sys.version_info[:2] != "$(VERSION)" and \
	  "$(VENV) is not of Python $(VERSION): remove it, or name another VENV")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r $(LOCK) -e '.$(EXTRA:%=[%])'
	@echo '$(EXTRA)' > $(VENV)/.extra
	@touch $@

demo: $(READY)  ## Train an agent from pixels and evaluate it, in minutes.
	$(BIN)/python -m dreamer_nnx.main --config=configs/demo.py \
	  --workdir=$(WORKDIR) --mode=train_and_evaluate $(ARGS)

test: $(READY)  ## Run the tests.
	$(BIN)/python -m pytest -q -n $(WORKERS) $(SPREAD) -m 'not whole'

whole: $(READY)  ## Run all tests, further cases at length among them.
	DREAMER_KILLS=3 $(BIN)/python -m pytest -q -n $(WORKERS) $(SPREAD)

quick: $(READY)  ## Run the short tests, between edits.
	$(BIN)/python -m pytest -q -n $(WORKERS) -m 'not slow and not whole' $(QUICK)

kills: $(READY)  ## Kill runs thirty times each; they end like one that was not.
	DREAMER_KILLS=30 $(BIN)/python -m pytest -q -s tests/test_kills.py

matrix:  ## Test fresh clones with PYTHONS; write docs/matrix.md.
	@$(PYTHON) tests/matrix.py $(PYTHONS)

smoke:  ## Train on each SUITE in a fresh environment of its extra.
	@$(PYTHON) tests/smoke/run.py $(SUITE)

tables: $(READY)  ## Write the pages that are made of the code.
	$(BIN)/python -m dreamer_nnx.presets > docs/presets.md

docs: $(READY)  ## Build the documentation into build/site; links must lead somewhere.
	$(BIN)/python -m mkdocs build --strict

release:  ## Build, check and try wheel and sdist with PYTHONS.
	@$(PYTHON) tests/release/make.py $(PYTHONS)

lint: $(READY)  ## Check style and formatting.
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(READY)  ## Fix what can be fixed of both.
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

lock: $(READY)  ## Pin the newest versions allowed for this Python.
	$(PIP) install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --allow-unsafe --strip-extras \
	  --upgrade --no-annotate --no-header --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host \
	  --output-file requirements.tmp pyproject.toml
	@{ echo '# All versions of `.[dev]`, pinned by `make lock`.'; \
	  grep -E '^[a-z0-9.-]+==' requirements.tmp | LC_ALL=C sort; } > $(LOCK)
	@rm requirements.tmp

clean:  ## Remove caches and build products; keeps .venv and runs.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune \
	  -exec rm -rf {} +
