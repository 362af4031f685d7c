#!/usr/bin/env bash
# Has `kvroute new` write each kind of crate into an empty folder, and builds and runs them as a
# newcomer would: the tests, the command line, the fuzz targets and the C caller.
#   ci/templates.sh [KIND…]     caller caller-c heap frames global; all of them if none is named
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

[ $# -gt 0 ] || set -- caller caller-c heap frames global
need_cargo_fuzz
pick_toolchain
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
# One folder for what all of them build.
export CARGO_TARGET_DIR=$new/target
for kind in "$@"; do
  cargo kvroute new "$new/my-$kind" "--$kind"
  if [ "$kind" = caller-c ]; then
    sh "$new/my-$kind/explore.sh"
    continue
  fi
  (
    cd "$new/my-$kind"
    cargo test
    target=plans
    if [ "$kind" != caller ]; then
      cargo run --release -- run mine --ops 100000 --seed 1
      target=traces
    fi
    "${fuzz[@]}" run -s none "$target" -- -runs=1000 -len_control=0 -max_len=16384
  )
done
