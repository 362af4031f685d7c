#!/usr/bin/env bash
# The long hunt: every campaign under the direct driver, then under the fuzzer with AddressSanitizer.
#
#   ci/nightly.sh [seconds]        all campaigns together; an hour if not said
#
# What the fuzzer learns stays in fuzz/corpus/. Ends with a table; exit code 1 if anything failed, and
# the failing traces are then listed.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

total=${1:-3600}
is_number "$total" || die "'$total' is not a number of seconds"
nr_campaigns=$(campaigns | wc -l)
# Two thirds of the time for the fuzzer: coverage finds what generation does not reach by chance.
direct=$((total / nr_campaigns / 3)) fuzzed=$((total * 2 / nr_campaigns / 3))
[ "$direct" -gt 0 ] || die "$total s leave less than a second for each of $nr_campaigns campaigns"

need_cargo_fuzz
KVROUTE_SANITIZER=${KVROUTE_SANITIZER:-address}
export KVROUTE_SANITIZER
pick_toolchain
say "building the direct driver and the targets (sanitizer: $sanitizer)"
quietly cargo kvroute --version
quietly "${fuzz[@]}" build "${options[@]}"

logs=$(mktemp -d)
started=$(mktemp)
trap 'rm -rf "$logs" "$started"' EXIT
# A seed of its own every day, and the day can be repeated.
seed=${KVROUTE_SEED:-$(date -u +%Y%m%d)}
rows=() failed=0

# hunt <how> <campaign> <command…>: runs it, and keeps a row for the table.
hunt() {
  local how=$1 campaign=$2 verdict=ok log="$logs/$1-$2"
  shift 2
  say "$how: $campaign"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    verdict=FAILED failed=1
    tail -n 60 "$log"
  fi
  rows+=("$(printf '%-10s %-9s %-7s %s' "$campaign" "$how" "$verdict" "$(figures "$log")")")
}

# The lines of a log that say how much was done.
figures() {
  grep -E '^stat::number_of_executed_units|^Done [0-9]+ runs|lane-ops in | cov: ' "$1" |
    sed -E 's/^.*(cov: [0-9]+ ft: [0-9]+).*$/\1/; s/^stat::number_of_executed_units: /executions: /' |
    awk '{ last[$1] = $0 } END { for (first in last) printf "%s  ", last[first] }'
}

for campaign in $(campaigns); do
  hunt direct "$campaign" cargo kvroute run "$campaign" --seconds "$direct" --seed "$seed" \
    --output "direct-$campaign.failing.trace"
  hunt fuzzer "$campaign" ci/fuzz.sh "$campaign" "$fuzzed"
done

say "" "campaign   by        verdict figures   (seed $seed)"
printf '%s\n' "${rows[@]}"
[ "$failed" -eq 0 ] || {
  say "" "failing traces:"
  find . fuzz/artifacts -maxdepth 1 -name '*.failing.trace' -newer "$started" 2>/dev/null || true
  find fuzz/artifacts -mindepth 2 -type f -newer "$started" 2>/dev/null || true
  exit 1
}
