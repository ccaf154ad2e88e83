# The map of this repository's commands: `make` or `make help` shows it.
# Caches of builds are Go's own; nothing but bin/ and .dev/ is written here.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Variables that you may set: PORT_BASE moves all ports of `make dev`, EXCEPT leaves processes to you,
# TEMPORAL_STORE=postgres has Temporal keep its state there and not on SQLite, PREVIOUS="v1.0.0 HEAD~3" names what
# `make test-mixed` upgrades from and not the latest release and the commit before this one, PKG and ARGS narrow
# `make test-one` and `make histories`; ARGS goes to the tools for Kafka too (make kafka-consumer ARGS=transcripts).
EXCEPT ?=
PORT_BASE ?= 8000
TEMPORAL_STORE ?= sqlite
PREVIOUS ?=
PKG ?= ./internal/postgres
ARGS ?=
# How many records of each kind `make strain` has the bridge work off, the worker a quarter of the large ones; how many
# transcripts of the largest size it has, and how many callers the API.
SMALL ?= 200000
LARGE ?= 2000
LARGEST ?= 16
CALLERS ?= 50
# How many streams of events `make bench-events` has one starter serve.
LISTENERS ?= 1000
# How long `make fuzz` spends on each of its targets.
FUZZTIME ?= 50000x

# What `make up` runs containers with.
COMPOSE ?= docker compose
# What an image is called, and tells of the commit that it is made from.
IMAGE ?= vidflow:local
COMMIT = VERSION=$$(git describe --tags --always --dirty --match='v[0-9]*' --abbrev=12) \
	REVISION=$$(git rev-parse HEAD) CREATED=$$(TZ=UTC git show --no-patch --format=%cd --date=format-local:%FT%TZ HEAD)

# `make chaos`: what happens follows from SEED alone; MINUTES is for how long things go wrong.
SEED ?= 1
VIDEOS ?= 500
MINUTES ?= 5

DEVSTACK := bin/devstack
# The Temporal CLI, which operators work with.
TEMPORAL := bin/temporal
VIDFLOW  := bin/vidflow
# What vidflow is measured against.
FLOORS   := bin/floors
# A cluster of Kubernetes, for tests.
CLUSTER  := bin/cluster
# What the end-to-end tests start: the same program, with the race detector in it.
VIDFLOW_RACE := bin/vidflow-race

GO_FILES = $$(git ls-files -co --exclude-standard '*.go')

# Packages of devstack that link the Temporal server are not built a second time for the race detector.
LINK_SERVER := /devstack$$|/devstack/(stack|temporal)$$
# Those need Chromium, and buildah.
USE_MORE := /(browsertest|imagetest)$$

# go build -v names every package that it compiles: shown as a count, on one line of a terminal and seldom elsewhere.
# Whatever else it says is passed on.
PROGRESS := awk -v tty="$$([ -t 2 ] && echo 1 || true)" '\
	function clear() { if (tty) printf "\r\033[K" > "/dev/stderr" } \
	!/^[A-Za-z0-9][A-Za-z0-9._~\/-]*$$/ { clear(); print > "/dev/stderr"; next } \
	{ n++ } \
	tty { clear(); printf "  %4d packages compiled, now %s", n, $$1 > "/dev/stderr"; fflush("/dev/stderr") } \
	!tty && n % 200 == 0 { printf "  %4d packages compiled\n", n > "/dev/stderr"; fflush("/dev/stderr") } \
	END { clear(); if (n > 20) printf "  %4d packages compiled\n", n > "/dev/stderr" }'

.PHONY: help
help: ## Show this help
	@echo 'Usage: make <target> [VARIABLE=value …]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: dev
dev: build-devstack ## Run everything here, in the foreground: servers, simulator, vidflow (EXCEPT=worker, PORT_BASE=9000, TEMPORAL_STORE=postgres)
	@exec $(DEVSTACK) dev --port-base='$(PORT_BASE)' --except='$(EXCEPT)' --temporal-store='$(TEMPORAL_STORE)'

.PHONY: clean-dev
clean-dev: build-devstack ## Remove the state of `make dev`
	@$(DEVSTACK) clean

.PHONY: build
build: build-vidflow ## Build bin/vidflow, the binary that ships

.PHONY: build-vidflow
build-vidflow:
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $(VIDFLOW) ./cmd/vidflow

.PHONY: build-race
build-race:
	@mkdir -p bin
	@CGO_ENABLED=1 go build -race -o $(VIDFLOW_RACE) ./cmd/vidflow

.PHONY: build-devstack
build-devstack:
	@mkdir -p bin
	@[ -x $(DEVSTACK) ] || echo 'Building the development stack. The first time the Temporal server is compiled: several minutes.' >&2
	@set -o pipefail; go build -v -o $(DEVSTACK) ./devstack 2>&1 >/dev/null | $(PROGRESS)
	@$(MAKE) --no-print-directory --silent $(TEMPORAL)

# Made anew when its version or its edits are others, after what it shares with the development stack: seconds.
$(TEMPORAL): devstack/go.mod devstack/go.sum $(wildcard devstack/temporalcli/*.go devstack/temporalcli/*/*.go)
	@mkdir -p bin
	@go -C devstack run ./temporalcli '$(abspath $@)'

.PHONY: test
test: build-devstack build-race ## Run every test, on servers of its own, with the race detector
	@$(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- bash -euo pipefail -c '\
		go test -race -timeout=30m $(ARGS) ./...; \
		cd devstack; \
		go test -race -timeout=40m $(ARGS) $$(go list ./... | grep -vE "$(LINK_SERVER)|$(USE_MORE)")'
	@$(MAKE) --no-print-directory test-kubernetes

.PHONY: test-one
test-one: build-devstack build-race ## Run the tests of one package on servers of its own (PKG=./starter ARGS='-run=TestX -v')
	@$(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- go test -race $(ARGS) $(PKG)

.PHONY: test-kafka
test-kafka: kafka-tools build-devstack build-race ## Run the integration tests on Apache Kafka (TLS, logins, permissions) and behind PgBouncer
	@$(DEVSTACK) exec --kafka=apache --pooler --binary=$(VIDFLOW_RACE) -- bash -euo pipefail -c '\
		go test -race -timeout=30m $(ARGS) ./internal/postgres; \
		cd devstack; \
		go test -race -timeout=30m $(ARGS) ./pgbouncer; \
		go test -race -timeout=30m $(ARGS) ./kafkatest; \
		go test -race -timeout=30m -skip="^Test(Exec|Dev)" $(ARGS) ./e2e'

.PHONY: test-takeover
test-takeover: takeover-tools kafkajs build-devstack build-race ## Take over from KafkaJS consumers on Apache Kafka, and give back to them, under load
	@VIDFLOW_TEST_KAFKAJS=1 $(DEVSTACK) exec --kafka=apache --binary=$(VIDFLOW_RACE) -- \
		go -C devstack test -race -count=1 -timeout=30m -parallel=3 -run='^TestTakeOver' $(ARGS) ./e2e

.PHONY: takeover-tools
takeover-tools:
	@missing=; \
		command -v java >/dev/null || missing+=' default-jre-headless'; \
		command -v mvn >/dev/null || missing+=' maven'; \
		command -v psql >/dev/null || missing+=' postgresql-client'; \
		command -v jq >/dev/null || missing+=' jq'; \
		[ -z "$$missing" ] || { echo "Programs are missing that docs/take-over.md uses. On Debian: apt-get install$$missing" >&2; exit 1; }

# The consumers that vidflow replaces, with what they need.
.PHONY: kafkajs
kafkajs: typescript-tools
	@cd devstack/kafkajs && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --fetch-retries=5 --ignore-scripts; }

# A module of its own, outside of go.work: Kubernetes' libraries want other versions of what all modules have.
.PHONY: test-kubernetes
test-kubernetes: build-vidflow ## Test deploy/kubernetes: rendered, against Kubernetes' types and the binary; needs no cluster
	@GOWORK=off go -C deploy/kubernetes test $(ARGS) ./...

# Its own module as well: the first time some minutes go into compiling Kubernetes.
.PHONY: test-cluster
test-cluster: build-cluster build-devstack build-race ## Test deploy/kubernetes and docs/kubernetes.md on a real control plane of Kubernetes, with processes for pods
	@VIDFLOW_TEST_CLUSTER='$(abspath $(CLUSTER))' $(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- \
		go -C devstack test -race -count=1 -timeout=30m -run='^TestCluster$$' $(ARGS) ./e2e

.PHONY: build-cluster
build-cluster:
	@mkdir -p bin
	@[ -x $(CLUSTER) ] || echo 'Building the parts of a Kubernetes cluster, the first time several minutes.' >&2
	@set -o pipefail; CGO_ENABLED=0 GOWORK=off go -C devstack/cluster build -v -ldflags='-s -w' -o ../../$(CLUSTER) . 2>&1 >/dev/null | $(PROGRESS)

# What `make test-kafka` needs beside Go, by the names of Debian's packages.
.PHONY: kafka-tools
kafka-tools:
	@missing=; \
		command -v java >/dev/null || missing+=' default-jre-headless'; \
		command -v mvn >/dev/null || missing+=' maven'; \
		command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=' pgbouncer'; \
		[ -z "$$missing" ] || { echo "Programs are missing that run Apache Kafka or PgBouncer. On Debian: apt-get install$$missing" >&2; exit 1; }

.PHONY: test-browser
test-browser: browser-tools build-devstack build-race ## Run the tests that look through a real browser
	@$(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- go -C devstack test -race -timeout=30m $(ARGS) ./browsertest

.PHONY: screenshots
screenshots: browser-tools build-devstack build-vidflow ## Take the pictures of docs/operators.md anew, from a pipeline of its own
	@mkdir -p docs/images
	@$(DEVSTACK) exec --binary=$(VIDFLOW) -- go -C devstack test -count=1 -timeout=30m ./browsertest \
		-run=TestTemporalUI -screenshots='$(abspath docs/images)'

.PHONY: browser-tools
browser-tools:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ echo 'There is no Chromium. On Debian: apt-get install --no-install-recommends chromium fonts-dejavu-core' >&2; exit 1; }

.PHONY: test-alerts
test-alerts: prometheus-tools build-devstack build-race ## Test alerts, dashboards and runbook with a real Prometheus, and raise the alerts
	@VIDFLOW_TEST_PROMETHEUS=1 $(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- go -C devstack test -race -timeout=30m -run="^Test(Alerts|Promtool)" $(ARGS) ./oncall ./e2e

.PHONY: prometheus-tools
prometheus-tools:
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || \
		{ echo 'There is no Prometheus with promtool. On Debian: apt-get install --no-install-recommends prometheus' >&2; exit 1; }

.PHONY: test-typescript
test-typescript: typescript build-devstack build-race ## Walk through the API with a TypeScript client that is generated from openapi.json
	@VIDFLOW_TEST_TYPESCRIPT=1 $(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- go -C devstack test -race -count=1 -timeout=30m -run='^TestTypeScript$$' $(ARGS) ./e2e

# Generates the client and compiles what uses it, strictly.
.PHONY: typescript
typescript: typescript-tools
	@cd clients/typescript && npm ci --silent --fetch-retries=5 --ignore-scripts && npm run --silent generate >/dev/null && npm run --silent build

.PHONY: typescript-tools
typescript-tools:
	@missing=; \
		command -v node >/dev/null || missing+=' nodejs'; \
		command -v npm >/dev/null || missing+=' npm'; \
		[ -z "$$missing" ] || { echo "Programs are missing that generate and run the TypeScript client. On Debian: apt-get install$$missing" >&2; exit 1; }; \
		[ "$$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || { echo "The TypeScript client needs Node 20 or later; this is $$(node --version)." >&2; exit 1; }

.PHONY: test-mixed
test-mixed: build-devstack build-race ## Upgrade from the previous version and back, one process at a time, under load (PREVIOUS=HEAD~3)
	@VIDFLOW_TEST_MIXED=1 VIDFLOW_TEST_PREVIOUS='$(PREVIOUS)' $(DEVSTACK) exec --binary=$(VIDFLOW_RACE) -- \
		go -C devstack test -race -v -count=1 -timeout=30m -parallel=3 -run='^TestMixed$$' $(ARGS) ./e2e

.PHONY: image
image: ## Build the container image with docker (IMAGE=vidflow:local, ARGS='--platform=linux/arm64 --push')
	@export $(COMMIT); exec docker build --tag='$(IMAGE)' --build-arg=VERSION --build-arg=REVISION --build-arg=CREATED \
		--build-arg=SOURCE_DATE_EPOCH="$$(git show --no-patch --format=%ct HEAD)" $(ARGS) .

.PHONY: test-image
test-image: image-tools build-devstack ## Build the container image without docker, and run it
	@$(DEVSTACK) exec -- go -C devstack test -race -count=1 -timeout=30m $(ARGS) ./imagetest

.PHONY: image-tools
image-tools:
	@command -v buildah >/dev/null || \
		{ echo 'There is no buildah. On Debian: apt-get install --no-install-recommends buildah' >&2; exit 1; }; \
	[ "$$(id -u)" = 0 ] || { echo 'The test mounts what it has built, and changes its root: run it as root.' >&2; exit 1; }

.PHONY: up
up: compose-tools ## Run the servers of production and vidflow in containers, until `make down` (COMPOSE='podman compose')
	@export $(COMMIT); $(COMPOSE) up --build --detach --wait || { \
		printf '\nNot everything is up. What is: %s ps --all; why not: %s logs SERVICE\n' '$(COMPOSE)' '$(COMPOSE)' >&2; exit 1; }
	@printf '%s\n' '' \
		'  API, its documents   http://localhost:8000/api/docs' \
		'  Temporal UI          http://localhost:8080' \
		'  Supabase Storage     http://supabase.localhost:8001' \
		'  Postgres             localhost:5432 (postgres/postgres)' \
		'  Kafka, Temporal      localhost:9094, localhost:7233' '' \
		'A course and a token to begin with: docs/set-up.md. Logs: $(COMPOSE) logs --follow. `make down` stops it.'

.PHONY: down
down: compose-tools ## Stop what `make up` runs (ARGS=--volumes forgets its data as well)
	@$(COMPOSE) down $(ARGS)

.PHONY: compose-tools
compose-tools:
	@program='$(firstword $(COMPOSE))'; instead='`make dev` needs no containers.'; \
	command -v "$$program" >/dev/null || \
		{ echo "There is no $$program: install Docker, or name what you have, such as COMPOSE='podman compose'. $$instead" >&2; exit 1; }; \
	$(COMPOSE) version >/dev/null 2>&1 || \
		{ echo "$(COMPOSE) does not work: install the Compose plugin (on Debian: apt-get install docker-compose-plugin, from Docker's own repository). $$instead" >&2; exit 1; }; \
	"$$program" info >/dev/null 2>&1 || \
		{ echo "$$program does not answer: start it, and see that you may use it ($$program info). $$instead" >&2; exit 1; }

.PHONY: release
release: ## Build the archives of a release, their bills of materials and checksums, in out/release (ARGS=--dirty, ARGS=--targets=linux/amd64)
	@GOWORK=off go -C tools run ./release $(ARGS)

.PHONY: test-release
test-release: ## Build a release twice, from different folders, and look at what is in it
	@GOWORK=off go -C tools test -count=1 -timeout=30m $(ARGS) ./release

.PHONY: smoke
smoke: build-devstack build-vidflow ## Send videos through a whole pipeline, unattended, and check what comes of them
	@$(DEVSTACK) smoke --binary=$(VIDFLOW)

# go test fuzzes one target of one package at a time. So many times each, not for so long: at the end of a time Go before
# 1.27 may fail with nothing but "context deadline exceeded" (https://go.dev/issue/75804).
.PHONY: fuzz
fuzz: ## Send every decoder, the API and the bridge's tracker what nobody thought of (FUZZTIME=50000x for each)
	@grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r package; do \
		for target in $$(grep -ohE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | cut -d' ' -f2); do \
			echo "$$package $$target" && go test -run='^$$' -fuzz="^$$target\$$" -fuzztime='$(FUZZTIME)' $$package; \
		done; \
	done

.PHONY: strain
strain: build-devstack build-vidflow ## Measure the most memory that each process takes (SMALL=200000 LARGE=2000, of 1 MB, LARGEST=16 CALLERS=50, ARGS=--only=worker)
	@$(DEVSTACK) exec -- go -C devstack run ./strain --binary='$(abspath $(VIDFLOW))' --base='$(abspath deploy/kubernetes/base)' \
		--small='$(SMALL)' --large='$(LARGE)' --largest='$(LARGEST)' --callers='$(CALLERS)' $(ARGS)

.PHONY: bench
bench: build-devstack build-vidflow build-floors ## Measure vidflow against the least that has to be done (ARGS='--only=pipeline --rounds=3')
	@$(DEVSTACK) bench --binary=$(VIDFLOW) --floors=$(FLOORS) $(ARGS)

# What comes after a benchmark links no server; it works on out/bench.json.
RESULTS := go -C devstack run ./bench/results --report='$(abspath out/bench.json)' --baseline='$(abspath devstack/bench/baseline.json)'

.PHONY: bench-check
bench-check: ## Compare the last benchmark with the committed baseline; what has become worse is an error
	@$(RESULTS) check

.PHONY: bench-baseline
bench-baseline: ## Make the last benchmark the baseline, and show it in docs/performance.md, docs/growth.md and their plots
	@$(RESULTS) accept --docs='$(abspath docs)'

.PHONY: plots
plots: ## Draw the plots of docs/performance.md from the last benchmark
	@mkdir -p docs/images
	@$(RESULTS) plots --dir='$(abspath docs/images)'

.PHONY: build-floors
build-floors:
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -o $(FLOORS) ./devstack/bench/floors

.PHONY: bench-events
bench-events: build-devstack build-vidflow ## Measure a starter with many listeners to its events, and what announcing them costs (LISTENERS=1000)
	@VIDFLOW_TEST_LISTENERS='$(LISTENERS)' $(DEVSTACK) exec --binary=$(VIDFLOW) -- \
		go -C devstack test -count=1 -v -timeout=30m -run='^Test(Listeners|Announcing|Events_long)$$' ./e2e

# The tools use the brokers of the environment, else those of a running `make dev`.
KAFKA_ENV = [ -n "$${KAFKA_BROKERS:-}" ] || { \
	[ -r .dev/env ] || { echo 'No brokers: set KAFKA_BROKERS and what else docs/kafka-tools.md names, or start `make dev` in another terminal.' >&2; exit 2; }; \
	source .dev/env; }

.PHONY: kafka-test
kafka-test: build-vidflow ## Check brokers, topics, groups and permissions, and send a record round (vidflow kafka check)
	@$(KAFKA_ENV); exec $(VIDFLOW) kafka check $(ARGS)

.PHONY: kafka-test-video
kafka-test-video: build-vidflow ## Send a test video and follow it to the end (vidflow kafka send-test-video)
	@$(KAFKA_ENV); exec $(VIDFLOW) kafka send-test-video $(ARGS)

.PHONY: kafka-check-messages
kafka-check-messages: build-vidflow ## Show the last messages of vidflow's topics (vidflow kafka tail)
	@$(KAFKA_ENV); exec $(VIDFLOW) kafka tail $(ARGS)

.PHONY: kafka-consumer
kafka-consumer: build-vidflow ## Show messages as they come, until Ctrl-C (vidflow kafka tail --follow)
	@$(KAFKA_ENV); exec $(VIDFLOW) kafka tail --follow --from=end $(ARGS)

.PHONY: status
status: build-vidflow ## Show how the pipeline is doing (vidflow status; ARGS=--watch, ARGS=the id of a video)
	@[ -n "$${DATABASE_URL:-}" ] || { \
		[ -r .dev/env ] || { echo 'No servers: set what docs/status.md names, or start `make dev` in another terminal.' >&2; exit 2; }; \
		source .dev/env; }; \
	exec $(VIDFLOW) status $(ARGS)

.PHONY: replay
replay: build-vidflow ## Find open runs that the workflow as it is here could not go on with (vidflow replay, ARGS='--sample 5%')
	@[ -n "$${TEMPORAL_ADDRESS:-}" ] || { \
		[ -r .dev/env ] || { echo 'No Temporal: set TEMPORAL_ADDRESS and its like, or start `make dev` in another terminal.' >&2; exit 2; }; \
		source .dev/env; }; exec $(VIDFLOW) replay $(ARGS)

.PHONY: chaos
chaos: build-devstack build-vidflow ## Break a whole pipeline in every way, heal it, check every result (SEED=1 VIDEOS=500 MINUTES=5)
	@$(DEVSTACK) chaos --binary=$(VIDFLOW) --seed='$(SEED)' --videos='$(VIDEOS)' --minutes='$(MINUTES)'

.PHONY: histories
histories: build-devstack ## Record histories of the workflow's paths that have none, for the replay tests
	@$(DEVSTACK) exec -- go test ./worker -count=1 -record $(ARGS)

# The tests of the first three packages that write files; others there need servers.
WRITERS := ^Test(OpenAPI|README_|Example_|Help|Configuration_problems)

.PHONY: generate
generate: ## Write what is made from the code and the data: openapi.json, tables of README.md, docs/performance.md, docs/growth.md, docs/scale.md and docs/temporal-cloud.md, .env.example, texts of --help, dashboards
	@output=$$(go test ./starter ./internal/config ./cmd/vidflow -count=1 -run='$(WRITERS)' -update 2>&1) || { printf '%s\n' "$$output" >&2; exit 1; }
	@go -C devstack test ./grafana ./bench/report ./actions -count=1 -update >/dev/null

.PHONY: lint
lint: lint-tools ## Check style, imports, determinism of workflows and go.mod of every module
	@unformatted=$$(bin/tools/gofumpt -l $(GO_FILES)); \
		[ -z "$$unformatted" ] || { printf 'not formatted (make fmt):\n%s\n' "$$unformatted" >&2; exit 1; }
	@bin/tools/golangci-lint run --allow-parallel-runners ./...
	@cd devstack && ../bin/tools/golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...
	@cd tools && GOWORK=off ../bin/tools/golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...
	@cd deploy/kubernetes && GOWORK=off ../../bin/tools/golangci-lint run --allow-parallel-runners --config ../../.golangci.yml ./...
	@cd devstack/cluster && GOWORK=off ../../bin/tools/golangci-lint run --allow-parallel-runners --config ../../.golangci.yml ./node
	@bin/tools/workflowcheck -config tools/workflowcheck.yaml ./workflows/...
	@for module in . devstack tools deploy/kubernetes devstack/cluster; do \
		GOWORK=off go -C $$module mod tidy -diff || { echo "$$module/go.mod is not tidy (go mod tidy)" >&2; exit 1; }; done

.PHONY: fmt
fmt: lint-tools ## Format all Go code
	@bin/tools/gofumpt -w $(GO_FILES)

.PHONY: lint-tools
lint-tools:
	@mkdir -p bin/tools
	@[ -x bin/tools/golangci-lint ] || echo 'Building the linters, the first time a few minutes.' >&2
	@set -o pipefail; GOWORK=off go -C tools build -v -o ../bin/tools/ tool 2>&1 >/dev/null | $(PROGRESS)

.PHONY: ci
ci: ## Do what continuous integration does: lint, test and smoke test
	@.ci/run

.PHONY: clean
clean: ## Remove what was built here; Go's caches stay
	@rm -rf bin out
