# Glassbox. `make` lists the targets; the same ones run in CI.

GO      ?= go
BIN     := bin/glassbox
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Coverage floor in percent, over all packages.
COVER_DIR ?= coverage.started
COVER_FLOOR := 90
FUZZTIME ?= 20s
RUNS ?= 300
SEED ?= 1
BENCHTIME ?= 1s
# Anything asks the measured figures for their aims; nothing for what holds on a
# busy machine.
FIGURES ?= 1
# What `make gen` writes.
GENERATED := docs/api.md docs/openapi.json docs/openrpc.json internal/operations/testdata/operations.golden

.DEFAULT_GOAL := help
.PHONY: help build run test verify verify-docker sim sabotage race check cover bench bench-docker bench-long fuzz gen ci clean

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the one binary, bin/glassbox
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/glassbox

run: build ## start three nodes and the demo sandbox; Ctrl-C stops all
	$(BIN) dev

test: ## run all tests
	$(GO) test ./...
	cd examples && $(GO) test ./...

verify: build ## hold three processes to the scenario baseline; REPORT=DIR keeps the report
	$(BIN) verify $(if $(REPORT),--report $(REPORT))

verify-docker: ## the same with containers
	$(GO) build -o bin/verify-docker ./testcontainers/verify
	bin/verify-docker $(if $(REPORT),--report $(REPORT))

sim: build ## simulate RUNS mixed runs from SEED on
	$(BIN) verify --target sim --seed $(SEED) --runs $(RUNS) $(if $(REPORT),--report $(REPORT))

sabotage: ## break each rule of the protocols on purpose; the simulator must notice
	$(GO) test -count 1 -tags sabotage -run TestSabotage ./harness/sim -seeds 300

race: ## run all tests with the race detector
	$(GO) test -race -timeout 20m ./...

check: ## formatting, vet, static analysis, generated files, workflow syntax
	@test -z "$$(gofmt -l .)" || { echo "gofmt these files:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool actionlint
	$(GO) mod tidy -diff
	$(GO) build -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	cd examples && $(GO) vet ./... && ../bin/staticcheck ./... && $(GO) mod tidy -diff
	$(MAKE) --no-print-directory gen
	@git diff --exit-code -- $(GENERATED) || { echo "these files are generated from the table of operations, and differ from what is committed: commit them as they are now"; exit 1; }

cover: ## coverage of all packages, with its floor; nodes and guardians that tests start are counted
	@rm -rf $(COVER_DIR) && mkdir $(COVER_DIR)
	GLASSBOX_COVER_DIR=$(CURDIR)/$(COVER_DIR) $(GO) test -coverpkg=./... -coverprofile=coverage.out ./... >coverage.log || { cat coverage.log; exit 1; }
	@$(GO) tool covdata textfmt -i=$(COVER_DIR) -o $(COVER_DIR)/started.out && tail -n +2 $(COVER_DIR)/started.out >>coverage.out
	@$(GO) tool cover -func=coverage.out | awk -v floor=$(COVER_FLOOR) '/^total:/ { \
		sub("%","",$$3); printf "coverage: %s%% of statements (floor %d%%)\n", $$3, floor; exit $$3 < floor }'

bench: build ## measure what docs/benchmarks.md tells, and print it beside its aims
	$(GO) test -run '^$$' -bench . -benchtime 1s ./rpc ./internal/operations ./cluster/replica ./memdb ./sandbox/runtime/exec ./sandbox/message
	$(GO) test -run '^$$' -bench . -benchtime 3x ./harness/sim
	GLASSBOX_FIGURES=$(FIGURES) $(GO) test -v -count 1 -timeout 20m -run TestPromises ./harness
	GLASSBOX_FIGURES=$(FIGURES) $(GO) test -v -count 1 -timeout 20m -run 'TestNoProgramIsLeft|TestStartCost' ./sandbox/runtime/exec

bench-docker: ## measure calls and sandboxes on three nodes in containers, BENCHTIME each
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) ./testcontainers

bench-long: build ## the same, with the runs that take minutes (false alarms under load, fifty kills)
	GLASSBOX_FIGURES=1 GLASSBOX_LONG=1 $(GO) test -v -count 1 -timeout 30m -run TestPromises ./harness

fuzz: ## fuzz every decoder for FUZZTIME each
	@for target in $$(grep -rho '^func Fuzz[A-Za-z]*' --include='*_test.go' . | sed 's/func //' | sort -u); do \
		dir=$$(grep -rl "func $$target(" --include='*_test.go' . | head -1 | xargs dirname); \
		echo "fuzzing $$target in $$dir"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; done

gen: ## regenerate docs/api.md, docs/openapi.json, docs/openrpc.json and the golden table
	$(GO) test -count 1 -run 'TestGenerated' ./internal/operations -update

ci: ## what CI runs: everything required, nothing skipped
	.ci/run

clean: ## remove what was built
	rm -rf bin coverage.out coverage.log
