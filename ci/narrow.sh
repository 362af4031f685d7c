#!/usr/bin/env bash
# Shows that a seed means the same traces, and a trace gets the same answers, where words have 32 bits.
# Runs where such a target is installed or can be, and where the machine runs its programs.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

narrow=i686-unknown-linux-musl
# This target brings its own C library and start files, so rustc's own linker is all that it needs.
export CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER=rust-lld

# Whether an empty program can be linked for that target, and be run here.
can_run() {
  local folder status=0
  folder=$(mktemp -d)
  rustc --target "$narrow" -C linker=rust-lld -o "$folder/empty" - <<<'fn main() {}' &&
    "$folder/empty" || status=$?
  rm -rf "$folder"
  return "$status"
}

if ! has_target "$narrow"; then
  skip "the target $narrow is not to be had here"
elif ! can_run; then
  skip "programs for $narrow cannot be linked or run here"
else
  # To optimize as much as for the campaigns would take longer than it saves here.
  export CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=0
  cargo test --package kvroute-proptests --test seeds --test corpus --target "$narrow" --locked
fi
