# `go test ./...` is the whole truth; these are shortcuts around it.

FUZZTIME ?= 30s
BENCH    ?= .
WORLDS   ?= 10000
FROM     ?= 0
SEEDS    ?= 1000000
SCHEDULES ?= 100000
tool     := go tool -modfile=tools/go.mod

.PHONY: help build test race lint fmt fuzz bench bench-fixture benchsim parts netns sim simkeys simsync simnodes kills mutants ci

help: ## what there is (this)
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

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

bench: ## the table of docs/benchmarks.md, beside plain GossipSub: 10 minutes
	CGO_ENABLED=0 go test -run '^$$' -bench '^BenchmarkGoals$$' -benchtime 1x -timeout 2h ./node

bench-fixture: ## the history that bench reads, made once: P2PCHAT_BENCH_MESSAGES (100,000), kept in P2PCHAT_BENCH_FIXTURE (the user's cache)
	CGO_ENABLED=0 go test -run '^$$' -bench '^BenchmarkFixture$$' -benchtime 1x -timeout 2h ./node

parts: ## benchmarks of the parts, or those that match BENCH
	go test -run '^$$' -bench '$(BENCH)' -skip '^Benchmark(Goals|Fixture|CatchUp|Idle)$$' -benchmem ./...

netns: ## tests between network namespaces (needs root, iproute2, nftables)
	CI=true go test -count=1 -v -run '^TestNetns' ./...

sim: ## the authority rule in SEEDS (1,000,000) random worlds; the results are kept in docs/results
	@mkdir -p docs/results
	go run ./internal/authority-sim -from $(FROM) -count $(SEEDS) -out docs/results/authority.txt

simkeys: ## the keys of a group in WORLDS (10,000) random worlds; the results are kept in docs/results
	@mkdir -p docs/results
	go run ./internal/keys-sim -from $(FROM) -count $(WORLDS) -out docs/results/keys.txt

simsync: ## reconciliation over the pure core in SCHEDULES (100,000) random schedules; the results are kept in docs/results
	P2PCHAT_SCHEDULES=$(SCHEDULES) P2PCHAT_RESULTS=$(CURDIR)/docs/results/sync.txt go test -count=1 -v -timeout 24h -run '^TestRandomSchedules$$' ./internal/sim/syncsim

simnodes: ## 1,000 random schedules of 5 to 8 real nodes in virtual time; the results are kept in docs/results
	P2PCHAT_SCHEDULES=1000 P2PCHAT_RESULTS=$(CURDIR)/docs/results/convergence.txt go test -count=1 -timeout 24h -run '^TestRandomSchedulesConverge$$' ./node

kills: ## a real process killed 1,000 times at random moments
	P2PCHAT_KILLS=1000 go test -count=1 -v -timeout 4h -run '^TestKillLosesNothing' ./node

benchsim: ## gossip of 1,000 nodes in virtual time, beside plain GossipSub: 3 GB
	P2PCHAT_MESH_NODES=1000 go test -count=1 -v -timeout 1h -run '^TestGossipOfManyNodes$$' ./node

mutants: ## the authority rule, and what is decided about keys, broken in every way that we know, which tests have to notice: 5 minutes
	go run ./internal/authority-mutants
	go test -count=1 -timeout 30m -run '^TestMutantsAreCaught$$' ./internal/sim/keysim -args -all

ci: ## all that has to hold
	.ci/run
