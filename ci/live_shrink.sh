#!/usr/bin/env bash
# Which caller, and which of its requests? Repeats a failing run of ci/live.sh in fresh guests with half of the callers,
# then with half of the requests of the one that is left.
#
#   ci/live_shrink.sh 6.1 third 'permille=900 seed=1 size_min=1'
#
# A run fails alike if its verdict is of the same kind: the same rule reported, or a hang, or a warning of the kernel's
# that it does not give without the module.
#
# Exit code: 0 it was shrunk, 1 the run does not fail, 2 wrong arguments or nothing to run it with.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh
. ci/guest.sh

[ $# -eq 3 ] || die "say a kernel, a workload and a plan; usage: ci/live_shrink.sh 6.1 files 'permille=500 seed=7'"
workload=$2 plan=$3 nr_guests=0
has_workload "$workload" || die "no workload '$workload'; there are $(workloads)"
! has_own_plans "$workload" || die "the workload '$workload' sets plans of its own, so another plan changes nothing"
read_settings
missing=$(missing_package)
[ -z "$missing" ] || die "$missing"
release=$(installed_releases "$1" | head -n 1)
[ -n "$release" ] || die "no kernel $1 with its headers; $(kernel_advice)"

# The kind of a verdict: what must stay the same.
kind_of() { case $1 in reported:*) say "$1" | awk '{ print $3 }' ;; *) say "${1%%:*}" ;; esac; }

# run <plan>: one more guest, and its `verdict`.
run() {
  nr_guests=$((nr_guests + 1))
  run_guest "$release" "$workload" "$1"
  [ "$1" != none ] || keep_usual
  verdict=$(verdict_of "$workload" "$1")
}

# fails <plan>: whether a guest under this plan fails alike.
# A guest that hangs is tried again: the machine may have had no time for it.
fails() {
  for _ in 1 2; do
    run "$1"
    case $verdict in hang:*) say "     no end in $limit s" ;; *) break ;; esac
  done
  say "$(printf '%3d  %-24s %s' "$nr_guests" "$(kind_of "$verdict")" "$1" | cut -c 1-150)"
  [ "$(kind_of "$verdict")" = "$wanted" ]
}

# Sets `callers` to those that got something or were failed, and `nr_asked` to how many requests each made.
read_callers() {
  local name nr
  callers=()
  while read -r name nr; do
    callers+=("$name")
    nr_asked[$name]=$nr
  done < <(sed -n '/^== callers/,/^== reports/p' "$guests/told" | awk '$1 ~ /^[0-9]+$/ && $2 + $3 + $4 > 0 { print $6, $1 }')
}

# The most requests that one of `callers` made.
most_asked() {
  local name
  for name in "${callers[@]}"; do say "${nr_asked[$name]}"; done | sort -n | tail -n 1
}

# What the plan does to a request.
done_to_it() {
  local route
  route=$(plan_word route "$plan" vmalloc)
  if [ "$(plan_word fail "$plan" 0)" = 0 ]; then
    say "is served by $route"
  elif [ "$(plan_word permille "$plan" 0)" = 0 ]; then
    say "fails"
  else
    say "is served by $route or fails"
  fi
}

join() { local IFS=,; say "$*"; }

# Sets `callers` to as few as fail alike by halving.
shrink_callers() {
  local half first_half second_half
  while [ ${#callers[@]} -gt 1 ]; do
    half=$((${#callers[@]} / 2))
    first_half=("${callers[@]:0:half}") second_half=("${callers[@]:half}")
    if fails "$plan callers=$(join "${first_half[@]}")"; then
      callers=("${first_half[@]}")
    elif fails "$plan callers=$(join "${second_half[@]}")"; then
      callers=("${second_half[@]}")
    else
      say "callers of both halves are needed"
      return
    fi
  done
}

# Sets `first` and `last` to as few requests as fail alike by halving.
shrink_requests() {
  local middle
  while [ "$first" -lt "$last" ]; do
    middle=$(((first + last) / 2))
    if fails "$chosen first=$first last=$middle"; then
      last=$middle
    elif fails "$chosen first=$((middle + 1)) last=$last"; then
      first=$((middle + 1))
    else
      say "requests of both halves are needed"
      return
    fi
  done
}

trap end_guest EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$guests"
declare -A nr_asked
forget_usual
build_modules "$release"
run none
case $verdict in ok*) ;; *) say "$release, $workload fails without the module: $verdict"; exit 1 ;; esac
run "$plan"
wanted=$(kind_of "$verdict")
say "$release, $workload under '$plan': $verdict"
case $verdict in ok* | 'nothing was routed') say "nothing to shrink"; exit 1 ;; esac
read_callers
if [ ${#callers[@]} -eq 0 ]; then
  say "the guest did not come to tell its callers; one that is only watched does"
  run "$plan fail=0 permille=1000 route=policy"
  read_callers
fi
[ ${#callers[@]} -gt 0 ] || die "no caller was seen"
shrink_callers
chosen="$plan callers=$(join "${callers[@]}")"
first=1 last=$(most_asked)
fails "$chosen" || { say "it did not fail again, so it depends on more than the plan"; exit 1; }
shrink_requests
what="request $first"
[ "$first" -eq "$last" ] || what="one of the requests $first to $last"
say "" "fails only when $what of $(join "${callers[@]}") $(done_to_it) ($wanted; $nr_guests guests)" \
  "repeat: KVROUTE_PLAN='$chosen first=$first last=$last' ci/live.sh $release $workload"
