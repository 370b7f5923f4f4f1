.DEFAULT_GOAL := help
.PHONY: help run test check build bench soak doctor clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## start everything here, pass the sample app through it, stay up until Ctrl-C
	@scripts/run

test: ## run every check and every test, real parts included
	@scripts/setup test
	@scripts/fetch-mongod
	@$(MAKE) --no-print-directory check
	cargo test

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

build: ## the program, optimised: target/release/muster
	cargo build --release --bin muster

bench: ## measure Muster beside what it is compared with
	cargo bench

soak: ## let it run for long, with failures
	scripts/soak

doctor: ## say what is missing here, and how to get it
	cargo run --quiet --bin muster -- doctor

clean: ## remove what was built, and all that `make run` kept
	cargo clean
	rm -rf .muster
