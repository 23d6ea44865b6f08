# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LOCKED := --quiet --disable-pip-version-check --no-deps --require-hashes

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
test-faults: $(READY) ## The same at every write and for whole minutes (40 minutes)
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

.PHONY: test-hostile-models
test-hostile-models: $(READY) ## Give every model that means harm to real processes: none runs code (1 minute)
	@$(BIN)/python -m tests.server.hostile_models

.PHONY: test-first-request
test-first-request: $(READY) ## Time the first request after a server is ready, and what counting costs (1 minute)
	@$(BIN)/python -m tests.server.first_request

.PHONY: test-fidelity
test-fidelity: $(READY) ## Hold every engine and decoding to the reference, with a trained model (20 to 40 minutes)
	@$(BIN)/python -m tests.server.fidelity

.PHONY: test-fuzz
test-fuzz: $(READY) ## Send a million generated requests to a server (REQUESTS=1000000, 20 minutes)
	@$(BIN)/python -m tests.server.fuzz --requests $(or $(REQUESTS),1000000)

.PHONY: test-overload
test-overload: $(READY) ## Ask a server three times as much as it can answer (2 minutes)
	@$(BIN)/python -m tests.server.overload

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
e2e-traffic: $(READY) ## Play every rollout under load on a whole cluster and count lost requests (60 minutes)
	@$(BIN)/python -m tests.traffic

.PHONY: test-bad-canaries
test-bad-canaries: $(READY) ## Roll out a bad canary of every kind and measure when it has no requests (10 minutes)
	@$(BIN)/python -m tests.traffic.bad_canaries

.PHONY: test-shadow-cost
test-shadow-cost: $(READY) ## Measure what clients notice of a shadow (15 minutes)
	@$(BIN)/python -m tests.traffic.shadow_cost

.PHONY: bench-operator
bench-operator: $(READY) ## Measure the operator beside a bare client and a textbook's (RESOURCES=1000 IDLE=60 ALONE=1 WRITE=1)
	@$(BIN)/python -m tests.bench --resources $(or $(RESOURCES),1000) --idle $(or $(IDLE),60) $(if $(ALONE),--alone) $(if $(WRITE),--write)

.PHONY: bench-server
bench-server: $(READY) ## Measure the server beside FastAPI, LitServe, BentoML, KServe and MLflow (40 minutes)
	@$(BIN)/python -m tests.bench_server --write

.PHONY: soak-operator
soak-operator: $(READY) ## Make 100,000 passes, and see whether memory and latency drift (30 minutes)
	@$(BIN)/python -m tests.bench.soak

.PHONY: test-chart
test-chart: $(READY) ## Lint and render every flag of the chart, validate every object, scan with checkov
	@$(BIN)/python -m tests.chart

.PHONY: coverage
coverage: $(READY) ## Run the tests that need no cluster, and write coverage.xml
	@$(BIN)/python -m pytest -q -m "not api and not fault and not e2e" -n auto --dist worksteal \
	  --cov --cov-report=xml

.PHONY: test-accuracy
test-accuracy: $(READY) ## Train on drawn pictures and on photographs, and judge by the test images (15 minutes)
	@$(BIN)/python -m tests.training.accuracy

.PHONY: bench-training
bench-training: $(READY) ## Measure training beside a loop that reads ready tensors (1 minute)
	@$(BIN)/python -m tests.training.speed

.PHONY: test-dvc
test-dvc: $(READY) ## Run the DVC pipeline twice and compare every byte (2 minutes; installs dvc)
	@$(BIN)/python -m tests.training.dvc_pipeline

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
generate: $(READY) ## Write the generated files (CRD, chart's copy, dashboards, ArgoCD, reference, golden tensors, picture)
	@$(BIN)/python -m dev.generate
	@$(BIN)/python -m tests.contract.golden
	@$(BIN)/python -m tests.recording

.PHONY: verify
verify: $(READY) ## Prove that every generated file is fresh, and that the locks fulfil pyproject.toml
	@$(BIN)/python -m dev.generate --check
	@$(BIN)/python -m dev.lock --satisfied
	@$(BIN)/python -m tests.contract.golden --check
	@$(BIN)/python -m tests.recording --check

.PHONY: docs
docs: .venv-docs/.ready ## Build the documentation into site/; a warning or a broken link fails
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --site-dir site
	@echo "site/index.html: $$(find site -name '*.html' | wc -l) pages, 0 warnings"

.venv-docs/.ready: requirements/docs.txt
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install $(LOCKED) -r requirements/docs.txt && touch $@

.PHONY: lock
lock: $(READY) ## Resolve the dependencies within pyproject.toml (UPGRADE=1: newest; CHECK=1)
	@$(BIN)/python -m dev.lock $(if $(UPGRADE),--upgrade) $(if $(CHECK),--check)

.PHONY: images
images: ## Build the images with docker, podman or buildah
	@$(PYTHON) -m dev.images build $(if $(IMAGE_TAG),--tag $(IMAGE_TAG))

.PHONY: image-sizes
image-sizes: ## Print what the images weigh compressed; one that is larger than its target fails
	@$(PYTHON) -m dev.images size operator router server $(if $(IMAGE_TAG),--tag $(IMAGE_TAG))

.PHONY: test-image
test-image: $(READY) ## Make a model, serve it from the server's image, ask every endpoint (Docker)
	@$(BIN)/python -m dev.image_check --image \
	  $(or $(IMAGE),ghcr.io/cv-factory/model-server:$(or $(IMAGE_TAG),0.1.0))

.PHONY: images-publish
images-publish: ## Build for all architectures, push with SBOM and provenance, sign (TAGS="a b")
	@$(PYTHON) -m dev.publish push $(addprefix --tag ,$(TAGS)) --record digests.json
	@$(PYTHON) -m dev.publish sign --record digests.json

.PHONY: cluster-up
cluster-up: ## Start a Kubernetes on this machine (CLUSTER=kind|local|current)
	@$(PYTHON) -m dev.cluster up

.PHONY: cluster-down
cluster-down: ## Take the cluster away again
	@$(PYTHON) -m dev.cluster down

.PHONY: cluster-build
cluster-build: ## Build the programs of the local cluster, and start nothing
	@$(PYTHON) -m dev.cluster build

# What continuous deployment runs (docs/ci.md): Python, helm, kubectl and git are enough, except for
# deploy-smoke, which is the command line's own: from this checkout, with its packages by their lock.
DEPLOY := $(PYTHON) -m dev.deploy
TAG ?= $(shell git rev-parse HEAD)
IMAGES_OF_RELEASE = --tag $(TAG) $(if $(DIGESTS),--digests $(DIGESTS))
ifneq ($(wildcard .kubeconfig),)
deploy deploy-diff deploy-status: export KUBECONFIG := $(CURDIR)/.kubeconfig
endif

.PHONY: kubeconfig
kubeconfig: ## Write the kubeconfig that KUBE_CONFIG holds into .kubeconfig
	@test -n "$$KUBE_CONFIG" || { echo 'KUBE_CONFIG is empty: docs/ci.md'; exit 1; }
	@umask 077 && printf '%s' "$$KUBE_CONFIG" > .kubeconfig

.PHONY: kubeconfig-forget
kubeconfig-forget: ## Remove that file
	@rm -f .kubeconfig

.PHONY: deploy-render
deploy-render: ## Print the objects of the release (TAG=the commit, DIGESTS=a file, if there is one)
	@$(DEPLOY) render $(IMAGES_OF_RELEASE)

.PHONY: deploy-diff
deploy-diff: ## Print what the release would change in the cluster
	@$(DEPLOY) diff $(IMAGES_OF_RELEASE)

.PHONY: deploy
deploy: ## Install or upgrade by the chart, and wait
	@$(DEPLOY) apply $(IMAGES_OF_RELEASE)

.PHONY: deploy-commit
deploy-commit: ## Write the tag into GITOPS_FILE of GITOPS_REPOSITORY, and push it
	@$(DEPLOY) commit $(IMAGES_OF_RELEASE) --repository "$$GITOPS_REPOSITORY" --file "$$GITOPS_FILE"

.PHONY: deploy-status
deploy-status: ## Wait for the operator's rollout and run its chart's test; with GITOPS_REPOSITORY wait for ArgoCD
	@$(DEPLOY) status --tag $(TAG) $(if $(GITOPS_REPOSITORY),--gitops)

.PHONY: deploy-smoke
deploy-smoke: .venv-cli/.ready ## Ask the live endpoint SERVICE_URL for its health and a prediction
	@PYTHONPATH=operator .venv-cli/bin/python -m model_operator.cli smoke --url "$$SERVICE_URL"

.PHONY: deploy-notify
deploy-notify: ## Tell NOTIFY_URL how it ended (OUTCOME=succeeded)
	@$(DEPLOY) notify --outcome $(OUTCOME)

.venv-cli/.ready: requirements/cli.txt
	@$(PYTHON) -m venv .venv-cli
	@.venv-cli/bin/pip install $(LOCKED) -r requirements/cli.txt && touch $@

.PHONY: mlflow-ui
mlflow-ui: $(READY) ## Show the demo's MLflow on http://127.0.0.1:5000
	@$(BIN)/python -m dev.mlflow_ui

.PHONY: clean
clean: ## Remove the virtual environment and caches of this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
