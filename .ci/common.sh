# shellcheck shell=bash
# Helpers that every script of this folder sources. They run in the top folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A panic's backtrace needs the line tables; the rest of the debug information takes a third of the build.
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never CARGO_PROFILE_DEV_DEBUG=line-tables-only

# Runs a command and prints it with the seconds that it took.
step() {
    local before=$SECONDS
    printf '\n== %s\n' "$*"
    "$@"
    printf '== %d s\n' "$((SECONDS - before))"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Returns whether cargo has this subcommand.
have_cargo() { cargo "$1" --version >/dev/null 2>&1; }

have_nightly() { rustc +nightly --version >/dev/null 2>&1; }

# Says in the log that a check did not run, and why.
skip() { printf '\n== skipped: %s\n' "$*"; }

# Runs tests with cargo-nextest where it is installed, which takes the same options, and with `cargo test` otherwise.
run_tests() {
    if have_cargo nextest; then
        step cargo nextest run "$@"
    else
        step cargo test "$@"
    fi
}

# Prints the options that leave tests out by a part of their names. Fails where no test has such a name any more.
skip_tests() {
    local name
    for name in "$@"; do
        if ! git grep -qE "fn [a-z0-9_]*$name" -- src tests; then
            echo "no test has $name in its name: it was renamed" >&2
            return 1
        fi
        printf -- '--skip\n%s\n' "$name"
    done
}

# The oldest Rust that Cargo.toml promises.
msrv() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# Copies the tree's tracked and new files to a folder that may hold an older copy. Its `target` and lock file stay.
copy_tree() {
    mkdir -p "$1"
    find "$1" -mindepth 1 -maxdepth 1 ! -name target ! -name Cargo.lock -exec rm -rf {} +
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"
}
