#!/usr/bin/env bash
# Fuzzes one campaign for some seconds, starting from its seeds, and explains what it finds.
#
#   ci/fuzz.sh routed 60 [more libFuzzer options]
#
# What the fuzzer learns is kept in fuzz/corpus/<campaign>. KVROUTE_SANITIZER=address adds a sanitizer.
# Exit code: 0 nothing found, 1 a failing trace, 2 wrong arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

usage() { die "usage: ci/fuzz.sh <campaign> <seconds> [libFuzzer options]; campaigns: $(campaigns | xargs)"; }

# Prints a failing input, its shortened form, and the command that repeats it.
explain() {
  local campaign=$1 artefact=$2
  local hash="${artefact##*-}"
  local trace="$campaign-${hash:0:8}.failing.trace"
  say "=== the trace at which the fuzzer stopped ($artefact)"
  cat "$artefact"
  say "" "=== shortened ($trace)"
  # Its last line is the command that repeats the failure.
  if ! cargo kvroute shrink "$campaign" "$artefact" -o "$trace"; then
    say "without the fuzzer it does not fail (a time limit, or a sanitizer's finding); repeat it with"
    say "${fuzz[*]} run ${options[*]} $campaign $artefact"
  fi
}

[ $# -ge 2 ] || usage
campaign=$1 seconds=$2
shift 2
campaigns | grep -x -- "$campaign" >/dev/null || die "there is no campaign '$campaign'; there are: $(campaigns | xargs)"
is_number "$seconds" && [ "$seconds" -gt 0 ] || die "'$seconds' is not a number of seconds"

need_cargo_fuzz
pick_toolchain
say "building target $campaign (sanitizer: $sanitizer)"
quietly "${fuzz[@]}" build "${options[@]}" "$campaign"

learnt="fuzz/corpus/$campaign" found="fuzz/artifacts/$campaign"
mkdir -p "$learnt" "$found"
started=$(mktemp)
trap 'rm -f "$started"' EXIT
status=0
CARGO_TERM_QUIET=true RUST_BACKTRACE=0 "${fuzz[@]}" run "${options[@]}" "$campaign" "$learnt" "corpus/$campaign" -- \
  -max_total_time="$seconds" -len_control=0 -max_len=16384 -timeout=60 -print_final_stats=1 "$@" ||
  status=$?
[ "$status" -ne 0 ] || { say "campaign $campaign: nothing found in $seconds s"; exit 0; }

artefacts=$(find "$found" -type f -newer "$started" ! -name 'slow-unit-*')
[ -n "$artefacts" ] || { say "the fuzzer stopped with exit code $status and left no trace"; exit 1; }
for artefact in $artefacts; do explain "$campaign" "$artefact"; done
exit 1
