.DEFAULT_GOAL := help
.PHONY: help run test parts check api web build image bench soak doctor clean

# Tests that load all processors, so that they run one after another.
alone := browser:: faults:: hostile:: images:: readers:: verifying:: a_node_that_joins_takes_work

# The pages that `read-api` embeds in the program.
pages := read-api/web/dist/index.html
packages := read-api/web/node_modules/.package-lock.json
pages_from := $(shell find read-api/web -type f -not -path '*/node_modules/*' -not -path '*/dist/*')

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## start everything on this machine and submit the sample app; Ctrl-C stops it
	@scripts/run

test: ## run every check and every test, real parts included
	@scripts/setup test
	@$(MAKE) --no-print-directory web
	@$(MAKE) --no-print-directory parts & $(MAKE) --no-print-directory check; checked=$$?; wait $$! && exit $$checked
	cargo test -- $(alone:%=--skip %)
	cargo test --test it --test swarm -- --test-threads=1 $(alone)

# The real parts, from the network: much waiting, so the checks are made meanwhile.
parts:
	@scripts/fetch-mongod
	@scripts/fetch-python
	@scripts/fetch-promtool
	@scripts/fetch-haproxy
	@tests/images/base.sh .muster/cache/test-images.tar .muster/cache/test-base.tar
	@tests/testbed/newer-engine.sh .muster/cache/newer-engine

check: $(packages) ## check formatting and lints, and run the pages' unit tests
	cargo fmt --all --check
	cd read-api/web && npm run --silent check && npm run --silent test
	cargo clippy --workspace --all-targets -- -D warnings

api: $(packages) ## the description of the HTTP API, and the pages' types from it
	MUSTER_WRITE_OPENAPI=1 cargo test --quiet --test it openapi::
	cd read-api/web && npm run --silent api

web: $(pages) ## build the pages of read-api/web, which the program embeds

$(pages): $(packages) $(pages_from)
	cd read-api/web && npm run --silent build
	@touch $@

$(packages): read-api/web/package.json read-api/web/package-lock.json
	cd read-api/web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: web ## build the optimised program: target/release/muster
	cargo build --release --bin muster

image: build ## build the image with this machine's engine: muster:latest, or IMAGE=REGISTRY/NAME:TAG
	docker build --tag $(or $(IMAGE),muster:latest) --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	    --build-arg REVISION=$$(git describe --always --dirty) --build-arg VERSION=$$(target/release/muster --version | cut -d ' ' -f 2) \
	    $(if $(BASE),--build-arg BASE=$(BASE)) .

bench: ## run the benchmarks, also of the programs that Muster is compared with
	cd projections/benches/supercluster && npm ci --no-audit --no-fund --loglevel=error
	cargo bench

soak: ## verify ten thousand submissions (or MUSTER_SOAK), compare the end with the start, and attack a newer engine
	cargo bench --bench soak
	@tests/testbed/newer-engine.sh .muster/cache/newer-engine
	MUSTER_TEST_ENGINE=newer cargo test --test swarm -- --test-threads=1 faults:: kinds::
	MUSTER_TEST_ENGINE=newer cargo test --test it -- --test-threads=1 hostile::every_attack_fails_on_read_only verifying::
	MUSTER_ATTACK_TABLES=target cargo test --test it -- --test-threads=1 hostile::every_attack_fails_on_writable

doctor: ## check this machine, and show how to fix each problem
	cargo run --quiet --bin muster -- doctor

clean: ## remove the build, and the data of `make run`
	cargo clean
	rm -rf .muster
