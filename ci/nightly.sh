#!/usr/bin/env bash
# The long hunt: every campaign under the direct driver, then under the fuzzer with AddressSanitizer.
#
#   ci/nightly.sh [seconds]        all campaigns together; an hour if not said
#
# What the fuzzer learns stays in fuzz/corpus/, what each stage says in fuzz/artifacts/nightly/. Ends with
# a table, which on GitHub is the summary of the step as well.
#
# Exit code: 0 nothing found, 1 something failed and its traces are listed, 2 wrong arguments, 130 and 143
# interrupted or ended; the table so far is printed then too.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

total=${1:-3600}
is_number "$total" || die "'$total' is not a number of seconds"
nr_campaigns=$(campaigns | wc -l)
# Two thirds of the time for the fuzzer: coverage finds what generation does not reach by chance.
direct=$((total / nr_campaigns / 3)) fuzzed=$((total * 2 / nr_campaigns / 3))
[ "$direct" -gt 0 ] || die "$total s leave less than a second for each of $nr_campaigns campaigns"
# A seed of its own every day, and the day can be repeated.
seed=${KVROUTE_SEED:-$(date -u +%Y%m%d)}

logs=fuzz/artifacts/nightly
rm -rf "$logs"
mkdir -p "$logs"
start=$(mktemp)
rows=() failed=0 stage=

# hunt <how> <campaign> <command…>: runs it, and keeps a row for the table.
hunt() {
  local how=$1 campaign=$2 verdict=ok status=0 log="$logs/$1-$2.log"
  shift 2
  say "$how: $campaign"
  # In a process group of its own, so that all of it can be ended.
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  stage=$!
  set +m
  wait "$stage" || status=$?
  stage=
  if [ "$status" -ne 0 ]; then
    verdict=FAILED failed=1
    tail -n 60 "$log"
  fi
  rows+=("$(printf '%-10s %-9s %-7s %s' "$campaign" "$how" "$verdict" "$(figures "$log")")")
}

# The line of a log that says how much was done.
figures() {
  grep -E 'lane-ops in | edges$|no objection to|without an objection|^test result: |^skipped: | guests? ran: |^versions: ' "$1" | tail -n 1 | sed 's/^[a-z]* [0-9]* s: //'
}

table() {
  say "" "campaign   by        verdict figures   (seed $seed)" "${rows[@]}"
  [ "$failed" -eq 0 ] || say "" "failing traces:" "$(failing_traces)"
}

failing_traces() {
  find . fuzz/artifacts -maxdepth 1 -name '*.failing.trace' -newer "$start" 2>/dev/null || true
  find fuzz/artifacts -mindepth 2 -type f -newer "$start" ! -path "$logs/*" 2>/dev/null || true
}

# The table, and on GitHub the summary of the step.
report() {
  table
  [ -z "${GITHUB_STEP_SUMMARY:-}" ] || say '```text' "$(table)" '```' >>"$GITHUB_STEP_SUMMARY"
}

interrupted() {
  if [ -n "$stage" ]; then
    kill -TERM -- "-$stage" 2>/dev/null || true
    wait "$stage" 2>/dev/null || true
  fi
  # What the stage was just finding is listed, though the stage has no row.
  [ -z "$(failing_traces)" ] || failed=1
  say "" "interrupted"
  report
  exit "$1"
}

trap 'rm -f "$start"' EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

need_cargo_fuzz
KVROUTE_SANITIZER=${KVROUTE_SANITIZER:-address}
export KVROUTE_SANITIZER
pick_toolchain
say "building the direct driver and the targets (sanitizer: $sanitizer)"
cargo kvroute --version
"${fuzz[@]}" build "${options[@]}"

# What no campaign runs: the readers, on files broken in every way, with all checks of arithmetic.
KVROUTE_MUTANTS=${KVROUTE_MUTANTS:-100000} hunt mutants all \
  cargo test --release -p kvroute-proptests --test mutants -- --nocapture --test-threads 1

for campaign in $(campaigns); do
  hunt direct "$campaign" cargo kvroute run "$campaign" --seconds "$direct" --seed "$seed" \
    --output "direct-$campaign.failing.trace"
  hunt fuzzer "$campaign" ci/fuzz.sh "$campaign" "$fuzzed"
done

# A guest that is not Linux, and right.
KVROUTE_GUEST_OPS=${KVROUTE_GUEST_OPS:-10000000} hunt guests all \
  cargo test --release -p kvroute-proptests --test guests

# Calling code with a hidden assumption is found, and its corrected twin is not, under twenty thousand plans.
hunt callers catalogue cargo kvroute callers --seeds "${KVROUTE_CALLER_SEEDS:-20000}"
hunt callers C ci/caller-c.sh
# Published code that takes memory makes no mistake.
hunt callers published zoo/callers/check.sh

# The unsafe code under AddressSanitizer and Valgrind.
hunt asan hosted ci/asan.sh
hunt valgrind hosted ci/valgrind.sh

# What `kvroute new` writes, built in empty folders.
hunt templates all ci/templates.sh

# The ends of every argument take as long as they take: all of their 55 million cases, once.
hunt boundary frees cargo kvroute boundary frees --output boundary-frees.failing.trace
hunt boundary routed cargo kvroute boundary routed --sample 2000 --seed "$seed" \
  --output boundary-routed.failing.trace

# Published allocators: what is known to be wrong with them is found, and the others bear ten million ops.
hunt zoo all zoo/check.sh "${KVROUTE_ZOO_OPS:-10000000}"

# Real callers: kernels of this machine, in guests, with kvmalloc routed by a module.
hunt guests kernels ci/live.sh

report
exit "$failed"
