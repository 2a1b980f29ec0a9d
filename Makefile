# Everything that is done with this project, by name.
.DEFAULT_GOAL := help
.PHONY: help setup demo build test package image machine audit dashboards pictures bench soak fuzz

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the tests need
	@scripts/setup test

build: ## build the release binary
	@scripts/setup build
	cargo build --locked --release

demo: build ## run the exporter against the embedded simulator and print what to open
	@exec target/release/tryvox-exporter demo

test: setup ## run every check
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	npm run --prefix tools/dashboards --silent lint
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --quiet
	cargo test --locked --quiet --doc
	scripts/package
	QUICK=1 scripts/image
	scripts/machine
	cargo test --locked --quiet --benches
	cargo test --locked --lib --tests

package: ## build what a release has for this architecture into dist/: archive and Debian package
	@scripts/setup package
	scripts/package

image: setup ## build the container image into target/image/, with no registry
	scripts/image

machine: setup ## make the Debian that the ways to install are tried on, in target/machine/
	scripts/machine

audit: setup ## hold the dependencies against licences, sources and known holes; needs github.com
	target/tools/bin/cargo-deny check

dashboards: setup ## write the dashboards anew from tools/dashboards
	npm run --prefix tools/dashboards --silent bundle
	node tools/dashboards/built/source/main.mjs dashboards

pictures: setup ## draw the dashboards for docs/dashboards.md, from five minutes of data
	TRYVOX_PICTURES=docs/dashboards cargo test --test integration -- panels:: --nocapture

bench: ## measure all that docs/performance.md speaks of, some ten minutes; the table is in target/bench.md
	@scripts/setup bench
	cargo bench --locked --bench decoders --bench stages
	cargo bench --locked --bench compare

soak: ## run the long tests for ten minutes, under random faults
	TRYVOX_SOAK_SECONDS=600 cargo test --locked --test integration -- soak:: --nocapture

fuzz: ## feed arbitrary bytes to the decoder for a minute; needs cargo-fuzz and a nightly compiler
	cargo +nightly fuzz run listing -- -max_total_time=60 -max_len=65536
