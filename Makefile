# `go test ./...` is the whole truth; these are shortcuts around it.

FUZZTIME ?= 30s
BENCH    ?= .
WORLDS   ?= 10000
FROM     ?= 0
SEEDS    ?= 1000000
tool     := go tool -modfile=tools/go.mod

.PHONY: help build test race lint fmt fuzz bench parts netns sim simkeys mutants ci

help: ## what there is (this)
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

build: ## the program, as ./p2pchat
	CGO_ENABLED=0 go build -trimpath ./cmd/p2pchat

test: ## all tests
	go test ./...

race: ## the tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

lint: ## vet, staticcheck and golangci-lint (whose first run builds it: minutes)
	go vet ./...
	$(tool) staticcheck ./...
	go tool -modfile=tools/lint.mod golangci-lint run

fmt: ## format the code
	$(tool) gofumpt -w .

fuzz: ## each fuzz function for FUZZTIME (30s)
	FUZZTIME=$(FUZZTIME) .ci/run fuzz

bench: ## the table of docs/benchmarks.md, beside plain GossipSub: 6 minutes
	go test -run '^$$' -bench '^BenchmarkGoals$$' -benchtime 1x -timeout 2h ./node

parts: ## benchmarks of the parts, or those that match BENCH
	go test -run '^$$' -bench '$(BENCH)' -skip '^BenchmarkGoals$$' -benchmem ./...

netns: ## tests between network namespaces (needs root, iproute2, nftables)
	CI=true go test -count=1 -v -run '^TestNetns' ./...

sim: ## the authority rule in SEEDS (1,000,000) random worlds; the results are kept in docs/results
	@mkdir -p docs/results
	go run ./internal/authority-sim -from $(FROM) -count $(SEEDS) -out docs/results/authority.txt

simkeys: ## the keys of a group in WORLDS (10,000) random worlds; the results are kept in docs/results
	@mkdir -p docs/results
	go run ./internal/keys-sim -from $(FROM) -count $(WORLDS) -out docs/results/keys.txt

mutants: ## the authority rule, and what is decided about keys, broken in every way that we know, which tests have to notice: 5 minutes
	go run ./internal/authority-mutants
	go test -count=1 -timeout 30m -run '^TestMutantsAreCaught$$' ./internal/sim/keysim -args -all

ci: ## all that has to hold
	.ci/run
