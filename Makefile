# Every check there is: `make test`. Each part alone: the targets below.
.PHONY: test fmt compiled lint unit unit-built doc release check clients test-faults test-deploy test-dreadnode test-stores test-cluster test-console bench

# The release binary is linked on one core, for minutes: what else is only compiled is compiled meanwhile. What is timed runs alone.
test: fmt
	$(MAKE) --jobs 2 --output-sync=target release compiled
	$(MAKE) --jobs 1 unit check clients test-faults test-deploy test-dreadnode test-stores test-cluster test-console

compiled:
	$(MAKE) --jobs 1 lint unit-built doc

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --bin valetkey --no-default-features -- -D warnings

# nextest is faster and tells more; without it, cargo's own runner runs the same tests. Those of the database run on Postgres, too.
unit-built:
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace --profile ci --no-run; else cargo test --workspace --lib --bins --tests --no-run; fi

unit:
	@if cargo nextest --version >/dev/null 2>&1; then tests/postgres/with cargo nextest run --workspace --profile ci; else tests/postgres/with cargo test --workspace --lib --bins --tests; fi

doc:
	cargo test --workspace --doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

release:
	cargo build --release

# Starts the real binary and tries to get further than its keys allow.
check: release
	target/release/valetkey dev --check

# Unmodified real clients against the real binary; installs what it needs.
clients: release
	VALETKEY_BIN=target/release/valetkey tests/clients/run

# Full disks, held-back bodies, stepping clocks, hostile stores, kills: the real binary in its bad hour.
test-faults: release
	VALETKEY_BIN=target/release/valetkey tests/faults/run

# What deploy/ has, each file by what takes it; both proxies, with real clients; installs what it needs.
test-deploy: release
	VALETKEY_BIN=target/release/valetkey tests/deploy/run

# Dreadnode's SDK, unmodified, with its own 900 MB of packages: apart, so that they hold nothing else back.
test-dreadnode: release
	VALETKEY_BIN=target/release/valetkey tests/clients/dreadnode/run

# Real stores (Ceph, Azure's emulator, local disk), and the clients again through the gateway; installs what it needs.
test-stores: release
	VALETKEY_BIN=target/release/valetkey tests/stores/run

# Several servers on one Postgres, killed, stopped and restarted; installs what it needs.
test-cluster: release
	VALETKEY_BIN=target/release/valetkey tests/cluster/run

# The console: built again and found unchanged, then every page and action in Chromium; installs what it needs.
test-console: release
	VALETKEY_BIN=target/release/valetkey tests/console/run

# Figures, not checks: docs/bench.md says how to read them.
bench: release
	bench/run
	bench/waits
