# What can be done here. `just` lists it.

_list:
    @just --list --unsorted

# Start the server
serve *ARGUMENTS:
    cargo run --release -- serve {{ARGUMENTS}}

# Format and lint
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Run every test that needs nothing but Rust
test:
    cargo test

# Interleave the cache's tasks in some hundred thousand ways
interleavings:
    RUSTFLAGS="--cfg shuttle" cargo test -p larder-cache --test interleavings --profile interleavings

# Build the documentation
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Run clients that nobody here wrote against the server
interop:
    interop/run

# Measure what docs/benchmarks.md quotes, in a quarter of an hour
bench:
    bench/run

# Load the cache for five minutes in each way of refreshing (or SECONDS) and see that nothing is lost
soak *ARGUMENTS:
    cd bench && cargo run --release --locked --bin soak -- {{ARGUMENTS}}

# Throw anything at a decoder (json, xml, batch, path, peer_message, peer_path) for SECONDS (needs nightly and cargo-fuzz)
fuzz TARGET SECONDS="600":
    mkdir -p fuzz/corpus/{{TARGET}}
    cargo +nightly fuzz run --sanitizer none {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} -- -max_total_time={{SECONDS}} -max_len=16384

# Check licences, sources, advisories and duplicates of dependencies (needs cargo-deny)
deny:
    cargo deny check

# All that must pass before a change lands
ci:
    .ci/run
