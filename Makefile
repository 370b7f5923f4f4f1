.DEFAULT_GOAL := help
.PHONY: help run test check api web build bench soak doctor clean

# Tests that would take each other's processors.
alone := browser:: faults:: hostile:: readers:: verifying:: a_node_that_joins_takes_work

# What `read-api` carries in the program.
pages := read-api/web/dist/index.html
packages := read-api/web/node_modules/.package-lock.json
pages_from := $(shell find read-api/web -type f -not -path '*/node_modules/*' -not -path '*/dist/*')

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## start everything here, pass the sample app through it, stay up until Ctrl-C
	@scripts/run

test: ## run every check and every test, real parts included
	@scripts/setup test
	@scripts/fetch-mongod
	@scripts/fetch-python
	@$(MAKE) --no-print-directory web check
	cd read-api/web && npm run --silent test
	cargo test -- $(alone:%=--skip %)
	cargo test --test it --test swarm -- --test-threads=1 $(alone)

check: $(packages) ## formatting and lints
	cargo fmt --all --check
	cd read-api/web && npm run --silent check
	cargo clippy --workspace --all-targets -- -D warnings

api: $(packages) ## the description of the HTTP API, and the pages' types from it
	MUSTER_WRITE_OPENAPI=1 cargo test --quiet --test it openapi::
	cd read-api/web && npm run --silent api

web: $(pages) ## the pages, from read-api/web to where the program takes them

$(pages): $(packages) $(pages_from)
	cd read-api/web && npm run --silent build
	@touch $@

$(packages): read-api/web/package.json read-api/web/package-lock.json
	cd read-api/web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: web ## the program, optimised: target/release/muster
	cargo build --release --bin muster

bench: ## measure Muster beside what it is compared with
	cd projections/benches/supercluster && npm ci --no-audit --no-fund --loglevel=error
	cargo bench

soak: ## verify ten thousand (or MUSTER_SOAK) and hold the end against the beginning
	cargo bench --bench soak

doctor: ## say what is missing here, and how to get it
	cargo run --quiet --bin muster -- doctor

clean: ## remove what was built, and all that `make run` kept
	cargo clean
	rm -rf .muster
