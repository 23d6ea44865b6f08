# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-17s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements/dev.txt requirements/torch.txt dev/setup.py
	@$(PYTHON) -m dev.setup

.PHONY: setup
setup: $(READY) ## Make the virtual environment in .venv

.PHONY: demo
demo: $(READY) ## Train, register, serve, roll out under load: the whole way, on a local Kubernetes
	@$(BIN)/python -m dev.demo

.PHONY: test
test: $(READY) ## Run every test that this machine can run, and say what was skipped
	@$(BIN)/python -m dev.test

.PHONY: unit
unit: $(READY) ## Run the tests that need no cluster (3 to 4 minutes)
	@$(BIN)/python -m dev.test unit

.PHONY: api
api: $(READY) ## Run the tests that need etcd and an API server
	@$(BIN)/python -m dev.test api

.PHONY: fault
fault: $(READY) ## Kill the operator at a sample of its writes, and lose and break its calls (3 minutes)
	@$(BIN)/python -m dev.test fault

.PHONY: test-faults
test-faults: $(READY) ## The same at every write and for whole minutes (45 minutes)
	@$(BIN)/python -m tests.fault

.PHONY: test-leader
test-leader: $(READY) ## Kill and stop the operator that leads, 50 times each, and judge its writes (20 minutes)
	@$(BIN)/python -m tests.leader

.PHONY: test-drain
test-drain: $(READY) ## End a server 100 times under load and count lost requests (5 minutes)
	@$(BIN)/python -m tests.drain

.PHONY: test-contract
test-contract: $(READY) ## Hold the server to its schema, its protocol, bad inputs and golden tensors (1 minute)
	@$(BIN)/python -m tests.figures contract

.PHONY: test-own-answers
test-own-answers: $(READY) ## Ask for 10,000 pictures at once: each gets its own answer (1 minute)
	@$(BIN)/python -m tests.server.own_answers

.PHONY: test-mirror
test-mirror: $(READY) ## Mirror to dead targets, and measure what clients notice (1 minute)
	@$(BIN)/python -m tests.figures mirror

.PHONY: test-router
test-router: $(READY) ## Divide 200,000 requests by the router, and change its route under load (2 minutes)
	@$(BIN)/python -m tests.router

.PHONY: test-autoscaling
test-autoscaling: $(READY) ## Play rollouts under Kubernetes' own autoscaler and count ready pods (4 minutes)
	@$(BIN)/python -m tests.autoscaling

.PHONY: e2e
e2e: $(READY) ## Run the tests that need a whole cluster
	@$(BIN)/python -m dev.test e2e

.PHONY: e2e-traffic
e2e-traffic: $(READY) ## Play every rollout under load on a whole cluster and count lost requests (45 minutes)
	@$(BIN)/python -m tests.traffic

.PHONY: test-bad-canaries
test-bad-canaries: $(READY) ## Roll out a bad canary of every kind and measure when it has no requests (10 minutes)
	@$(BIN)/python -m tests.traffic.bad_canaries

.PHONY: test-shadow-cost
test-shadow-cost: $(READY) ## Measure what clients notice of a shadow (15 minutes)
	@$(BIN)/python -m tests.traffic.shadow_cost

.PHONY: bench-operator
bench-operator: $(READY) ## Measure the operator beside a bare client and a textbook's (RESOURCES=1000 IDLE=60 WRITE=1)
	@$(BIN)/python -m tests.bench --resources $(or $(RESOURCES),1000) --idle $(or $(IDLE),60) $(if $(WRITE),--write)

.PHONY: soak-operator
soak-operator: $(READY) ## Make 100,000 passes, and see whether memory and latency drift (30 minutes)
	@$(BIN)/python -m tests.bench.soak

.PHONY: lint
lint: $(READY) ## Check format, imports, style, types and layers
	@$(BIN)/ruff format --check --quiet . || { echo 'run `make format`'; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache | tail -n 1

.PHONY: format
format: $(READY) ## Format the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

.PHONY: generate
generate: $(READY) ## Write the generated files (CRD, the chart's copy, golden tensors)
	@$(BIN)/python -m dev.generate
	@$(BIN)/python -m tests.contract.golden

.PHONY: verify
verify: $(READY) ## Prove that every generated file is fresh
	@$(BIN)/python -m dev.generate --check
	@$(BIN)/python -m tests.contract.golden --check

.PHONY: lock
lock: $(READY) ## Resolve the dependencies within pyproject.toml (UPGRADE=1: newest; CHECK=1)
	@$(BIN)/python -m dev.lock $(if $(UPGRADE),--upgrade) $(if $(CHECK),--check)

.PHONY: images
images: ## Build the images with docker, podman or buildah
	@$(PYTHON) -m dev.images build

.PHONY: cluster-up
cluster-up: ## Start a Kubernetes on this machine (CLUSTER=kind|local|current)
	@$(PYTHON) -m dev.cluster up

.PHONY: cluster-down
cluster-down: ## Take the cluster away again
	@$(PYTHON) -m dev.cluster down

.PHONY: cluster-build
cluster-build: ## Build the programs of the local cluster, and start nothing
	@$(PYTHON) -m dev.cluster build

.PHONY: mlflow-ui
mlflow-ui: $(READY) ## Show the demo's MLflow on http://127.0.0.1:5000
	@$(BIN)/python -m dev.mlflow_ui

.PHONY: clean
clean: ## Remove the virtual environment and caches of this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
