#!/usr/bin/env bash
# A short bounded run of every fuzz target: all its seeds, then some thousand mutants from a fixed seed.
# Then a sample of the ends of every argument of every call, always the same one.
#
#   ci/smoke.sh [runs]
#
# It shows that the targets build, decode their seeds and survive; ci/fuzz.sh and ci/nightly.sh hunt.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

runs=${1:-1200}
is_number "$runs" || die "'$runs' is not a number of runs"
need_cargo_fuzz
pick_toolchain
quietly "${fuzz[@]}" build "${options[@]}"

learnt=$(mktemp -d)
trap 'rm -rf "$learnt"' EXIT
for campaign in $(campaigns); do
  mkdir "$learnt/$campaign"
  quietly "${fuzz[@]}" run "${options[@]}" "$campaign" "$learnt/$campaign" "corpus/$campaign" -- \
    -runs="$runs" -seed=1 -len_control=0 -max_len=16384 -timeout=60 -max_total_time=60
  # A target that learnt nothing from its mutants has not run them.
  nr_learnt=$(find "$learnt/$campaign" -type f | wc -l)
  [ "$nr_learnt" -gt 0 ] || die "target $campaign ran, but no mutant reached anything new"
done

# So few mutants hardly ever join two extremes in one call, such as an order whose size overflows and a
# context that may not sleep.
# With the program that the tests use, since another profile would be another build of everything.
RUSTC_BOOTSTRAP=0 quietly cargo build --workspace --bin kvroute --profile test
quietly "${CARGO_TARGET_DIR:-target}/debug/kvroute" boundary --sample 300
