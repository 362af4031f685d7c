#!/usr/bin/env bash
# Random routing in running kernels: builds live/kvroute.ko, boots guests with it, and says what happened.
#
#   ci/live.sh [kernel] [workload]     all kernels that are installed with headers; all workloads of the table
#   KVROUTE_PLAN='permille=500 seed=7 callers=ext4:*' ci/live.sh 6.1 files        one guest with this plan
#
# The kernel is the beginning of a release (6.1), the workload a file in live/guest. Nothing of the machine is touched
# but target/live: a guest is an emulated machine that ends with this script, or after its time.
#
# The last line says how much was done; where nothing can be, a line says what was skipped and why.
#
# Exit code: 0 nothing found or nothing could be run, 1 a guest hung, oopsed, warned or reported, or a planted
# mistake was not found; 2 wrong arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh
. ci/guest.sh

WORKLOADS=(planted files modules network)

kernel=${1:-} workload=${2:-}
[ $# -le 2 ] || die "what is '$3' after the kernel and the workload?"
[ -z "$workload" ] || has_workload "$workload" || die "no workload '$workload'; there are $(workloads)"
limit=${KVROUTE_GUEST_SECONDS:-300}
is_number "$limit" || die "KVROUTE_GUEST_SECONDS: '$limit' is not a number of seconds"

missing=$(missing_package)
[ -z "$missing" ] || { skip "$missing"; exit 0; }
mapfile -t releases < <(installed_releases "$kernel")
[ ${#releases[@]} -gt 0 ] || { skip "no kernel ${kernel:-at all} with its headers; $(kernel_advice)"; exit 0; }

rows=() planted=() costs=() nr_found=0 failed=0

# row <release> <workload> <plan>: what a guest told, as a line of the table.
row() {
  local verdict
  verdict=$(verdict_of "$2")
  case $verdict in ok*) ;; *) failed=1 ;; esac
  rows+=("$(printf '%-22s %-9s %-40s %5s %8s %8s %8s %7s %s' "$1" "$2" "$3" "$(told uptime)" "$(told requests)" \
    "$(told by_vmalloc)" "$(told by_slab)" "$(told reported)" "$verdict")")
  [ "$2" != planted ] || judge_planted "$1"
  [ "$2" != cost ] || mapfile -t costs < <(sed -n "s/^cost \(.*\)/$1: \1 ns/p" "$guests/told")
}

# What each assumption came to: name, what is expected, without routing, the twin, with routing.
judge_planted() {
  local name expected without twin with verdict nr=0
  while read -r name expected without twin with; do
    verdict=found nr=$((nr + 1))
    # A mistake may bring another: what is expected must be among what was found.
    case " $with " in *" $expected "*) ;; *) verdict='NOT FOUND' failed=1 ;; esac
    [ "$verdict" != found ] || nr_found=$((nr_found + 1))
    [ "$twin" = nobody ] || { verdict="TWIN: $twin"; failed=1; }
    planted+=("$(printf '%-22s %-13s %-22s %-14s %-8s %s' "$1" "$name" "$with" "$without" "$twin" "$verdict")")
  done < <(sed -n 's/^planted //p' "$guests/told")
  [ "$nr" -eq "$(grep -vc '^#' live/planted/plans)" ] || { planted+=("$1: only $nr were tried"); failed=1; }
}

# once <release> <workload> <plan>
once() {
  say "$1: $2 under '$3'"
  run_guest "$1" "$2" "$3" "$limit"
  [ "$3" != permille=0 ] || warnings >"$guests/usual"
  keep_logs "$1-$2-${3//[^a-z0-9=]/_}"
  row "$1" "$2" "$3"
}

# What the kernel warns of without routing is not held against routing.
all_plans() {
  rm -f "$guests/usual"
  if [ -n "${KVROUTE_PLAN:-}" ]; then
    once "$1" "$2" "$KVROUTE_PLAN"
  elif [[ $2 =~ ^(planted|cost)$ ]]; then
    # They set plans of their own.
    once "$1" "$2" permille=0
  else
    once "$1" "$2" permille=0
    once "$1" "$2" "permille=500 size_min=1"
    once "$1" "$2" "permille=1000 size_min=1"
    once "$1" "$2" "permille=1000 size_min=1 route=slab"
  fi
}

summary() {
  if [ ${#planted[@]} -gt 0 ]; then
    say "$nr_found of ${#planted[@]} planted mistakes found"
  elif [ "$failed" -eq 0 ]; then
    say "nothing found"
  else
    say "see the table"
  fi
}

report() {
  say "" "kernel                 workload  plan                                         s requests  vmalloc     slab reports verdict" "${rows[@]}"
  [ ${#planted[@]} -eq 0 ] ||
    say "" "kernel                 assumption    found by               without        twin     verdict" "${planted[@]}"
  [ ${#costs[@]} -eq 0 ] || say "" "a kvmalloc() and kvfree() of 8 KiB, by the guest's clock:" "${costs[@]}"
  say "" "the guests' logs: $guests/logs" "${#rows[@]} guests ran: $(summary)"
}

trap end_guest EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$guests/logs"
for release in "${releases[@]}"; do
  build_modules "$release"
  for each in ${workload:-"${WORKLOADS[@]}"}; do all_plans "$release" "$each"; done
done
report
exit "$failed"
