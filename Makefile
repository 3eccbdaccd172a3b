# Every step of the tests is a target that a person can run. `make test` runs them all and is what .ci/run calls.
#
#   make test        everything: installs what is missing, builds, checks, tests; ends with one line of counts
#   make lint        formatting, clippy, who-imports-whom, file sizes
#   make unit        unit tests and documentation examples
#   make black-box   the real binary against real clients and servers
#   make bench-driver  the tests of the benchmark's own driver; no servers
#   make fuzz        every fuzz target, FUZZ_SECONDS (10) each
#   make bench       Handfast beside nginx, haproxy, Envoy and Caddy, the controller with 1,000 and 10,000
#                    Certificates, the mesh beside a relay and ztunnel, and its control plane (these three need
#                    root); writes bench/RESULTS.md
#   make docs        the documentation of the crates
#   make image       the project's image, static and without Docker: target/image/handfast.tar
#   make cluster     a real one-node Kubernetes in a network namespace of its own, with the project's image in it (needs
#                    root and Go 1.26); see tests/cluster/README.md

# Rust by rustup and Go by its own archive are often not on the PATH of a bare `sh`.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin
# Nothing here asks a question.
export CARGO_TERM_COLOR ?= auto
FUZZ_SECONDS ?= 10
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: all test tools build lint fmt clippy check-imports check-sizes unit doc-tests black-box fuzz bench bench-driver docs image clients cluster cluster-check

all: build

test:
	@scripts/ladder

# Installs the programs that the tests drive (nginx, openssl, gnutls-cli, Go, Java, ...), only those that are missing.
tools:
	@scripts/install-test-tools

build:
	cargo build --workspace --locked

lint: fmt clippy check-imports check-sizes

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

check-imports:
	@scripts/check-imports

check-sizes:
	@scripts/check-sizes

unit:
	cargo test --workspace --lib --bins --locked --no-fail-fast

doc-tests:
	cargo test --workspace --doc --locked --no-fail-fast

# Builds the programs that are not ours (Go) once; the black-box tests run them.
clients:
	@scripts/build-clients
	@tests/helm/build > /dev/null || echo "no helm: the tests of the chart are skipped"

black-box: clients
	cargo test --workspace --test '*' --locked --no-fail-fast

fuzz:
	@scripts/fuzz $(FUZZ_SECONDS)

bench:
	bench/run
	bench/kubernetes
	bench/mesh
	bench/mesh-control

# A benchmark that divides wrongly measures nothing: its driver is tested without any server.
bench-driver:
	python3 -m unittest discover -s bench -p tests.py -t bench

docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked

# A release build, so not part of the ladder; the black-box tests build the same image of the binary under test.
image:
	@deploy/image/build

# Brings up the Kubernetes of the tests, with the release build as the image that `kube install` names, and leaves it
# running: tests/cluster/cluster kubectl ..., tests/cluster/cluster down. A second run loads the present source.
cluster:
	@tests/cluster/tools
	cargo build --release --locked -p handfast
	tests/cluster/cluster up
	@deploy/image/build --binary "$(TARGET)/release/handfast" --output "$(TARGET)/image/cluster.tar"
	tests/cluster/cluster load "$(TARGET)/image/cluster.tar"

# Whether that Kubernetes works, and leaves nothing behind.
cluster-check:
	@tests/cluster/tools
	tests/cluster/check
