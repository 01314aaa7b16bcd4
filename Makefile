# Every check there is: `make test`. Each part alone: the targets below.
.PHONY: test fmt installed built lint unit doc release check clients test-faults test-deploy test-dreadnode test-stores test-cluster test-console bench

# What the suites run: it is built with the tests. `make test BIN=target/release/valetkey` takes one that `make release` built.
BIN ?= target/debug/valetkey
export VALETKEY_BIN := $(BIN)

# Compiling takes the most time: everything is compiled once, for tests, lints, documentation and suites alike. Packages of the suites are installed
# meanwhile. What is timed runs alone.
test: fmt
	$(MAKE) --jobs 2 --output-sync=target built installed
	$(MAKE) --jobs 1 unit doc check clients test-faults test-deploy test-dreadnode test-stores test-cluster test-console

fmt:
	cargo fmt --all --check

# Clippy's driver compiles what it looks at, so that dependencies need not be compiled a second time for it. Without it: `make lint`.
CLIPPY := $(shell rustup which clippy-driver 2>/dev/null || command -v clippy-driver)
LINTED := $(if $(CLIPPY),RUSTC_WORKSPACE_WRAPPER=$(CLIPPY) CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__)

# nextest is faster and tells more; without it, cargo's own runner runs the same tests.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

# Also without the features that can be left out, as tests' dependencies are compiled already.
built:
	$(LINTED) $(if $(NEXTEST),cargo nextest run --workspace --profile ci --no-run,cargo test --workspace --lib --bins --tests --no-run)
	$(LINTED) cargo test --workspace --no-default-features --bin valetkey --no-run

installed:
	tests/postgres/setup
	tests/clients/setup
	tests/faults/setup
	tests/deploy/setup
	tests/stores/setup

lint:
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --bin valetkey --no-default-features -- -D warnings

# Those of the database run on Postgres, too.
unit: built
	$(LINTED) tests/postgres/with $(if $(NEXTEST),cargo nextest run --workspace --profile ci,cargo test --workspace --lib --bins --tests)

# Examples in the documentation run, and its links lead somewhere.
doc:
	$(LINTED) RUSTDOC=$(CURDIR)/tests/rustdoc cargo test --workspace --doc

release:
	cargo build --release

# Starts the real binary and tries to get further than its keys allow.
check: built
	$(BIN) dev --check

# Unmodified real clients against the real binary; installs what it needs.
clients: built
	tests/clients/run

# Full disks, held-back bodies, stepping clocks, hostile stores, kills: the real binary in its bad hour.
test-faults: built
	tests/faults/run

# What deploy/ has, each file by what takes it; both proxies, with real clients; installs what it needs.
test-deploy: built
	tests/deploy/run

# Dreadnode's SDK, unmodified, with its own 900 MB of packages: apart, so that they hold nothing else back.
test-dreadnode: built
	tests/clients/dreadnode/run

# Real stores (Ceph, Azure's emulator, local disk), and the clients again through the gateway; installs what it needs.
test-stores: built
	tests/stores/run

# Several servers on one Postgres, killed, stopped and restarted; installs what it needs.
test-cluster: built
	tests/cluster/run

# The console: built again and found unchanged, then every page and action in Chromium; installs what it needs.
test-console: built
	tests/console/run

# Figures, not checks: docs/bench.md says how to read them.
bench: release
	bench/run
	bench/waits
