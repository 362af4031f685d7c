#!/usr/bin/env bash
# Random routing in running kernels: builds live/kvroute.ko, boots guests with it, and says what happened.
#
#   ci/live.sh [kernel] [workload]     all kernels that are installed with headers; all workloads of the table
#   KVROUTE_PLAN='permille=500 seed=7 callers=ext4:*' ci/live.sh 6.1 files        one guest with this plan
#   kvroute live shrink --guests permille=900 size_min=1 -- ci/live.sh 6.1 third  which request it is
#
# The kernel is the beginning of a release (6.1), the workload a file in live/guest. Nothing of the machine is touched
# but target/live: a guest is an emulated machine that ends with this script, or after its time.
#
# A guest without the module comes first: what its kernel warns of, and which drivers it loads, is the measure of the others.
# In the table, `callers` are those that vmalloc served at least once, of all that asked.
# The last line says how much was done; where nothing can be, a line says what was skipped and why.
#
# Exit code: 0 nothing found or nothing could be run, 1 a guest hung, oopsed, warned or reported, or a planted
# mistake was not found; 2 wrong arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh
. ci/guest.sh


kernel=${1:-} workload=${2:-}
[ $# -le 2 ] || die "what is '$3' after the kernel and the workload?"
[ -z "$workload" ] || has_workload "$workload" || die "no workload '$workload'; there are $(workloads)"
read_settings

missing=$(missing_package)
# A search repeats one guest, under plans of its own; one that has not run must not pass.
if [ -n "${KVROUTE_TOLD:-}" ]; then
  [ -z "$missing" ] || die "$missing"
  [ -n "$workload" ] || die "say which workload is to be searched"
  ! has_own_plans "$workload" || die "the workload '$workload' sets plans of its own, so another plan changes nothing"
  [ "$(installed_releases "$kernel" | wc -l)" -eq 1 ] || die "there is not one kernel $kernel: $(installed_releases "$kernel" | paste -sd ' ')"
fi
[ -z "$missing" ] || { skip "$missing"; exit 0; }
mapfile -t releases < <(installed_releases "$kernel")
[ ${#releases[@]} -gt 0 ] || { skip "no kernel ${kernel:-at all} with its headers; $(kernel_advice)"; exit 0; }

wanted=("$workload")
[ -n "$workload" ] || wanted=(planted files modules network ipc unload tool)
# The program that goes into a guest is built before the first one: a table that is lost at the end helps nobody.
if [[ " ${wanted[*]} " =~ " "(tool|cost)" " ]]; then
  if command -v cargo >/dev/null; then
    build_tool || die "kvroute cannot be built"
  else
    skip "no cargo (https://rustup.rs), so no workload ${wanted[-1]}"
    [ -z "$workload" ] || exit 0
    unset 'wanted[-1]'
  fi
fi

rows=() planted=() costs=() drivers=() never=() nr_found=0 failed=0
several=$((cpus > 1 ? cpus : 2))

# row <release> <workload> <plan>: what a guest told, as a line of the table.
row() {
  local verdict
  verdict=$(verdict_of "$2" "$3")
  case $verdict in ok*) ;; *) failed=1 ;; esac
  [ -z "${KVROUTE_TOLD:-}" ] || leave_told "$verdict"
  rows+=("$(printf '%-22s %-9s %4s %-40s %5s %8s %8s %8s %9s %7s %s' "$1" "$2" "$cpus" "$3" "$(told uptime)" "$(told requests)" \
    "$(told by_vmalloc)" "$(told by_slab)" "$(callers_served)" "$(told reported)" "$verdict")")
  # Of who is served by slab though all is to come from vmalloc, nothing is known.
  if [ "$(plan_word permille "$3" 0) $(plan_word route "$3" vmalloc)" = "1000 vmalloc" ]; then
    [ -z "$(never_served)" ] || never+=("$1, $2: $(never_served)")
  fi
  case $2 in
    planted) judge_planted "$1" ;;
    modules) judge_drivers "$1" "$3" ;;
    cost) mapfile -t -O "${#costs[@]}" costs < <(sed -n "s/^cost \(.*\)/$1: \1 ns/p; s/^rate /$1: /p" "$guests/told") ;;
  esac
}

# judge_drivers <release> <plan>: a guest cannot load them all, but a workload that loads none says nothing.
judge_drivers() {
  [ "$2" = none ] || return 0
  [ -n "$(loaded)" ] || failed=1
  drivers+=("$1: $(loaded | wc -l) of $(wc -l <live/guest/drivers); not $(not_loaded | paste -sd ' ')")
}

# What each assumption came to: name, what is expected with and without routing; without routing, the twin, with routing.
judge_planted() {
  local name expected usual without twin with verdict nr=0
  while read -r name expected usual without twin with; do
    verdict=found nr=$((nr + 1))
    [ "$with" = "$expected" ] || { verdict="NOT $expected"; failed=1; }
    [ "$verdict" != found ] || nr_found=$((nr_found + 1))
    [ "$without" = "$usual" ] || { verdict="WITHOUT: $without and not $usual"; failed=1; }
    [ "$twin" = nobody ] || { verdict="TWIN: $twin"; failed=1; }
    planted+=("$(printf '%-22s %-13s %-28s %-8s %-8s %s' "$1" "$name" "$with" "$without" "$twin" "$verdict")")
  done < <(sed -n 's/^planted //p' "$guests/told")
  [ "$nr" -eq "$(grep -vc '^#' live/planted/plans)" ] || { planted+=("$1: only $nr were tried"); failed=1; }
}

# once <release> <workload> <plan>
once() {
  say "$1: $2 under '$3'"
  run_guest "$1" "$2" "$3"
  # A search repeats a hang: the machine may have had no time for it.
  [ -z "${KVROUTE_TOLD:-}" ] || [ "$ended" != 124 ] || run_guest "$1" "$2" "$3"
  [ "$3" != none ] || keep_usual
  local plan=${3//[^a-z0-9=]/_}
  # A plan with many callers is longer than a name of a file may be.
  [ ${#plan} -le 100 ] || plan=${plan:0:80}_$(cksum <<<"$3" | cut -d ' ' -f 1)
  keep_logs "$1-$2-$cpus-$plan"
  row "$1" "$2" "$3"
}

# What happens without the module is not held against it.
all_plans() {
  [ -n "${KVROUTE_TOLD:-}" ] || forget_usual
  if [ "$2" = unload ]; then
    cpus=$several once "$1" "$2" "${KVROUTE_PLAN:-permille=1000 size_min=1}"
    return
  elif [ "$2" = loop ]; then
    once "$1" "$2" "${KVROUTE_PLAN:-permille=500 size_min=1}"
    return
  elif has_own_plans "$2"; then
    once "$1" "$2" "${KVROUTE_PLAN:-permille=0}"
    return
  fi
  knows_usual || once "$1" "$2" none
  if [ -n "${KVROUTE_PLAN:-}" ]; then
    once "$1" "$2" "$KVROUTE_PLAN"
    return
  fi
  once "$1" "$2" permille=0
  once "$1" "$2" "permille=500 size_min=1"
  once "$1" "$2" "permille=1000 size_min=1"
  once "$1" "$2" "permille=1000 size_min=1 route=slab"
  [ "$2" != files ] || cpus=$several once "$1" "$2" "permille=500 size_min=1"
}

summary() {
  local found="nothing found"
  [ ${#planted[@]} -eq 0 ] || found="$nr_found of ${#planted[@]} planted mistakes found, nothing else"
  [ "$failed" -eq 0 ] || found="see the table"
  say "$found"
}

report() {
  say "" "kernel                 workload  cpus plan                                         s requests  vmalloc     slab   callers reports verdict" "${rows[@]}"
  [ ${#drivers[@]} -eq 0 ] || say "" "drivers that load without the module:" "${drivers[@]}"
  [ ${#never[@]} -eq 0 ] || say "" "callers that vmalloc has never served:" "${never[@]}"
  [ ${#planted[@]} -eq 0 ] ||
    say "" "kernel                 assumption    found by                     without  twin     verdict" "${planted[@]}"
  [ ${#costs[@]} -eq 0 ] || say "" "a kvmalloc() and kvfree() of 8 KiB, and records of both, by the guest's clock:" "${costs[@]}"
  say "" "the guests' logs: $guests/logs" "${#rows[@]} guests ran: $(summary)"
}

trap end_guest EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$guests/logs"
for release in "${releases[@]}"; do
  build_modules "$release"
  for each in "${wanted[@]}"; do all_plans "$release" "$each"; done
done
report
exit "$failed"
