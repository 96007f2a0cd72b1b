# Two commands for a fresh machine: `make run` and `make test`. Both set up everything that they need below this folder
# (.venv) and in the user's cache (toolchain, images); nothing is installed on the machine.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --import-mode=importlib
CYCLES ?= 100
CRASHES ?= 100
VERSIONS ?= 1.34,1.35,1.36,1.37
comma := ,
EACH_VERSION = $(subst $(comma), ,$(VERSIONS))

# Tests start hundreds of Python programs: what these import is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Koalesce needs Python 3.11 or newer; say PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 has no venv module; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.done ## Make the Python environment in .venv
	@$(BIN)/python -m tests.cluster.machines

$(VENV)/.docs: $(VENV)/.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	@touch $@

# AWS' library, which moto needs, and the Kubernetes client want different versions of dateutil.
$(VENV)/moto/.done: $(VENV)/.done
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/python -m pip install --quiet --disable-pip-version-check 'moto[ec2,server]>=5.2,<6'
	@touch $@

.PHONY: toolchain
toolchain: setup ## Find or build what the specs of this repository need (the first time: some 20 minutes on two cores)
	$(BIN)/koalesce toolchain prepare

.PHONY: run
run: setup ## Run specs/kube-router.yaml on a real three-node cluster
	$(BIN)/koalesce run specs/kube-router.yaml

.PHONY: lint
lint: setup ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: unit
unit: setup ## Run the unit tests (seconds)
	$(PYTEST) -n auto tests/unit

.PHONY: test
test: lint toolchain ## Check everything, on real clusters, with the specs of this repository
	$(PYTEST) -n 3 tests/unit tests/contract tests/cluster tests/specs

.PHONY: test-all
test-all: lint toolchain $(VENV)/moto/.done ## `make test`, what takes minutes longer, and what needs tools that only this builds (another half an hour the first time)
	for version in $(EACH_VERSION); do $(BIN)/koalesce toolchain prepare $$version; done
	$(BIN)/koalesce toolchain path metrics-server
	$(BIN)/koalesce toolchain plugin hcloud
	KOALESCE_LONG=1 $(PYTEST) -n 3 tests/unit tests/contract tests/cluster tests/specs

.PHONY: versions
versions: toolchain ## The contract tests, the tour and an example on each supported version of Kubernetes (VERSIONS=…; another half an hour the first time)
	for version in $(EACH_VERSION); do $(BIN)/koalesce toolchain prepare $$version; done
	for version in $(EACH_VERSION); do KOALESCE_TEST_KUBERNETES=$$version $(PYTEST) tests/contract; done
	$(BIN)/koalesce run specs/quickstart.yaml docs/examples/features.yaml --kubernetes $(VERSIONS)

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation as a site in build/docs; links that lead nowhere fail
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --builder html docs build/docs

.PHONY: bench
bench: toolchain ## Print cluster start by phase, teardown, and wait latency
	$(BIN)/python -m tests.benchmarks

.PHONY: soak
soak: toolchain ## Up and down 100 times (CYCLES=N); interrupt and kill commands, Terraform and supervisors at 100 random moments (CRASHES=N; two hours)
	KOALESCE_CYCLES=$(CYCLES) $(PYTEST) tests/cluster/test_cycles.py -s
	KOALESCE_CRASHES=$(CRASHES) $(PYTEST) tests/cluster/test_crashes.py
	$(BIN)/koalesce toolchain plugin hcloud
	KOALESCE_LONG=1 KOALESCE_CRASHES=$(CRASHES) $(PYTEST) tests/contract/test_hcloud.py

.PHONY: conformance
conformance: toolchain ## Run upstream's conformance tests on a local cluster (an hour, and 20 minutes more the first time; no part of `make test`)
	$(BIN)/python -m tests.conformance

.PHONY: vm-test
vm-test: toolchain ## Run tests/vm/*.yaml (SPECS=…) in a virtual machine with cgroup v2 and all kernel modules (no part of `make test`)
	$(BIN)/python -m tests.vm $(SPECS)

.PHONY: clean
clean: ## Remove the Python environment and caches of checkers (not the toolchain)
	rm -rf $(VENV) build/docs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
