# Development and release tasks. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo build test package image machine audit licenses dashboards chart screenshots bench soak fuzz
.PHONY: checks packages system

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the programs and packages that the tests need
	@scripts/setup test

build: ## build the release binary
	@scripts/setup build
	cargo build --locked --release

demo: build ## run the exporter against the embedded simulator and print the URLs to open
	@exec target/release/tryvox-exporter demo

# The steps before the tests run at the same time, because some of them wait for the network, a disk or one core. The output of
# a command is printed when it ends. Three test threads for two cores: most tests wait for other programs.
test: ## run all checks and tests
	@scripts/setup compile
	@$(MAKE) --no-print-directory --jobs --output-sync=line checks packages system
	cargo test --locked --lib --tests -- --test-threads=3

checks:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --quiet
	cargo test --locked --quiet --doc
	cargo test --locked --quiet --benches
	cargo test --locked --quiet --lib --tests --no-run

packages:
	scripts/package
	QUICK=1 scripts/image

system:
	scripts/machine
	scripts/setup test
	npm run --prefix tools/dashboards --silent lint

package: ## build the release archive, the Debian and the RPM package for this architecture in dist/
	@scripts/setup package
	scripts/package

image: setup ## build the container image in target/image/ without a registry
	scripts/image

machine: setup ## create the Debian system for the installation tests in target/machine/
	scripts/machine

audit: setup ## check the dependencies' licenses, sources and security advisories; needs github.com
	target/tools/bin/cargo-deny check

licenses: ## write the licenses of the linked crates and libraries to deploy/licenses/THIRD-PARTY.txt
	text=$$(python3 deploy/licenses/generate.py) && printf '%s\n' "$$text" >deploy/licenses/THIRD-PARTY.txt

dashboards: setup ## generate dashboards/ from tools/dashboards
	npm run --prefix tools/dashboards --silent bundle
	node tools/dashboards/built/source/main.mjs dashboards

chart: setup ## update the rules, dashboards and README of the Helm chart, and deploy/kubernetes/, from their sources
	scripts/chart
	UPDATE_DOCS=1 cargo test --quiet --test integration -- chart::

screenshots: setup ## draw the dashboards and the status page for docs/ after collecting data for five minutes
	TRYVOX_SCREENSHOTS=docs cargo test --test integration -- panels:: page::status_page_of_the_demo --nocapture

bench: ## run every benchmark of docs/performance.md, about ten minutes; writes target/bench.md
	@scripts/setup bench
	cargo bench --locked --bench decoders --bench stages
	cargo bench --locked --bench compare

soak: ## run the soak tests under random faults for ten minutes
	TRYVOX_SOAK_SECONDS=600 cargo test --locked --test integration -- soak:: --nocapture

fuzz: ## fuzz the listing decoder for one minute; needs cargo-fuzz and a nightly compiler
	cargo +nightly fuzz run listing -- -max_total_time=60 -max_len=65536
