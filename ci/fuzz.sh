#!/usr/bin/env bash
# Fuzzes one campaign for some seconds, starting from its seeds, and explains what it finds.
#
#   ci/fuzz.sh routed 60 [more libFuzzer options]
#
# While it runs one line says what the inputs did; at the end come the tables of `kvroute run`. What the
# engine says goes to fuzz/artifacts/<campaign>.log. What the fuzzer learns is kept in
# fuzz/corpus/<campaign>. KVROUTE_SANITIZER=address adds a sanitizer.
#
# Exit code: 0 nothing found, 1 a failing trace, 2 wrong arguments, 130 and 143 interrupted or ended.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

usage() { die "usage: ci/fuzz.sh <campaign> <seconds> [libFuzzer options]; campaigns: $(campaigns | xargs)"; }

# Prints a failing input, its shortened form, and the command that repeats it.
explain() {
  local campaign=$1 artefact=$2
  local hash="${artefact##*-}" status=0
  local trace="$campaign-${hash:0:8}.failing.trace"
  say "=== the trace at which the fuzzer stopped ($artefact)"
  cat "$artefact"
  say "" "=== shortened ($trace)"
  # Its last line is the command that repeats the failure.
  cargo kvroute shrink --fuzz-input "$campaign" "$artefact" -o "$trace" || status=$?
  # 1 is the objection itself.
  if [ "$status" -ne 1 ]; then
    say "without the fuzzer it does not fail (a time limit, or a sanitizer's finding); repeat it with"
    say "${fuzz[*]} run ${options[*]} $campaign $artefact"
  fi
}

# The edges that the engine has seen so far.
edges() { grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | grep -oE '[0-9]+' || say 0; }

# One line: how long, what the inputs did, and how much they reached.
pulse() {
  local counts
  counts=$(head -n 1 "$report" 2>/dev/null) || true
  printf '%s %d s: %s; %s edges' "$campaign" $((SECONDS - began)) "${counts#kvroute: }" "$(edges)"
}

# Shows the pulse as long as the engine runs: on a terminal one line that changes, else one a minute.
watch() {
  local width
  while kill -0 "$engine" 2>/dev/null; do
    sleep 1
    if [ -t 1 ]; then
      width=$(tput cols 2>/dev/null || say 100)
      printf '\r\033[K%s' "$(pulse | cut -c "1-$((width - 1))")"
    elif [ $(((SECONDS - began) % 60)) -eq 59 ]; then
      say "$(pulse)"
    fi
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

# Ends the engine and all that it started.
end_engine() {
  if [ -n "$engine" ]; then
    kill -TERM -- "-$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  engine=
}

# What was done until now, in the words of `kvroute run`.
summary() {
  tail -n +2 "$report" 2>/dev/null || say "no input was run"
  say "" "$(pulse)"
}

# What the engine found since the start.
artefacts() { find "$found" -type f -newer "$start" ! -name 'slow-unit-*'; }

interrupted() {
  end_engine
  say "" "interrupted"
  summary
  artefacts | sed 's/^/found, and not yet explained: /'
  exit "$1"
}

[ $# -ge 2 ] || usage
campaign=$1 seconds=$2
shift 2
campaigns | grep -x -- "$campaign" >/dev/null || die "there is no campaign '$campaign'; there are: $(campaigns | xargs)"
is_number "$seconds" && [ "$seconds" -gt 0 ] || die "'$seconds' is not a number of seconds"

need_cargo_fuzz
pick_toolchain
say "building target $campaign (sanitizer: $sanitizer)"
"${fuzz[@]}" build "${options[@]}" "$campaign"

learnt="fuzz/corpus/$campaign" found="fuzz/artifacts/$campaign" log="fuzz/artifacts/$campaign.log"
mkdir -p "$learnt" "$found"
scratch=$(mktemp -d)
report="$scratch/report" start="$scratch/start"
touch "$start"
trap 'end_engine; rm -rf "$scratch"' EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
began=$SECONDS engine=

# With a process group of its own the engine can be ended whole: cargo, and the target below it.
set -m
KVROUTE_REPORT=$report CARGO_TERM_QUIET=true RUST_BACKTRACE=0 \
  "${fuzz[@]}" run "${options[@]}" "$campaign" "$learnt" "corpus/$campaign" -- \
  -max_total_time="$seconds" -len_control=0 -max_len=16384 -timeout=60 "$@" >"$log" 2>&1 </dev/null &
engine=$!
set +m
watch
status=0
wait "$engine" || status=$?
engine=

summary
[ "$status" -ne 0 ] || { say "campaign $campaign: nothing found in $seconds s"; exit 0; }

if [ -z "$(artefacts)" ]; then
  tail -n 40 "$log"
  say "the fuzzer stopped with exit code $status and left no trace"
  exit 1
fi
for artefact in $(artefacts); do explain "$campaign" "$artefact"; done
exit 1
