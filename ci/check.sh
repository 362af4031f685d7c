#!/usr/bin/env bash
# Everything that must hold before a change goes in. Quiet about what succeeds; the output of what fails
# is shown whole. Runs at a desk as it runs on a server; nothing is read from standard input.
#
# Exit code: 0 if every step succeeded, 1 if one failed. The steps after it still run.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

# Stable means stable: unstable features stay off here, whatever .cargo/config.toml allows a fuzzer.
export RUSTC_BOOTSTRAP=0
export CARGO_TERM_COLOR=never

failed=()

# step <name> <command…>: one line with the time it took, and on failure what the command said.
step() {
  local name=$1 log status=0 started=$SECONDS
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then
    # How many tests there were belongs to the verdict, and what was left out.
    grep -E '^(test result|skipped): ' "$log" || true
    printf 'ok      %-46s %4d s\n' "$name" $((SECONDS - started))
  else
    failed+=("$name")
    cat "$log"
    printf 'FAILED  %-46s %4d s\n' "$name" $((SECONDS - started))
  fi
  rm -f "$log"
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }
smoke() { env -u RUSTC_BOOTSTRAP ci/smoke.sh; }

step "cargo fmt --all -- --check" cargo fmt --all -- --check
step "cargo test --workspace" cargo test --workspace
step "cargo clippy --workspace --all-targets" cargo clippy --workspace --all-targets -- -D warnings
step "rustdoc without warnings" documentation
step "alloc-core without std, on bare metal" ci/no_std.sh
step "the same on 32 bits" ci/narrow.sh
step "every fuzz target, briefly" smoke

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
say "all checks passed in $SECONDS s"
