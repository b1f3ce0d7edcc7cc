GO ?= go
BIN := bin/azimuth
# go test, with the totals at the end.
GOTEST = $(GO) run gotest.tools/gotestsum@v1.13.0 --format $(FORMAT) --
FORMAT ?= pkgname
export CGO_ENABLED ?= 0

.PHONY: up build test check lint bench scenario race fuzz clean

up: build ## build, stand the example environment up, run a training job on it
	@$(BIN) up examples/workspace
	@$(BIN) ml job create -f examples/train/job.yml --stream
	@echo
	@$(BIN) ml compute list
	@printf '\nWhat to try next:\n'
	@printf '  %s\n' \
		'$(BIN) ml job list' \
		'$(BIN) ml job download -n NAME -p /tmp/job' \
		'$(BIN) clock advance 16m && $(BIN) ml compute list    # the idle node leaves' \
		'$(BIN) exec -- az group list                          # any Azure client' \
		'$(BIN) down examples/workspace && $(BIN) stop'

build:
	@$(GO) build -trimpath -o $(BIN) ./cmd/azimuth

test: ## every test, with the clients that this machine has
	$(GOTEST) -timeout 20m $(TESTFLAGS) ./...

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

race: ## every test, with the race detector
	@CGO_ENABLED=1 $(MAKE) --no-print-directory test TESTFLAGS='-race $(TESTFLAGS)'

check: lint ## what CI runs: lint, and every test with every client and the race detector
	@CI=true AZIMUTH_SCENARIO_JOBS=2000 $(MAKE) --no-print-directory race

bench: ## request rates, latencies and costs
	$(GO) test -timeout 60m -run '^$$' -bench . -benchmem ./...

scenario: ## 2,000 short jobs, gangs, preemptions, and a server that is killed three times
	AZIMUTH_SCENARIO_JOBS=2000 $(GO) test -timeout 20m -count 1 -v -run '^TestScenario$$' ./test

fuzz: ## each fuzzer for ten seconds
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 10s $$p || exit 1; \
		done; \
	done

clean:
	rm -rf bin
