#!/usr/bin/env bash
# Holds published allocators to what versions.txt says of each: a bad version is found, a fixed one is
# silent. Writes what was seen into table.txt.
#
#   zoo/check.sh [ops] [campaign…]    ops that a silent version must bear; a hundred million if not said,
#                                     and of a frame allocator, which has no churns, ten million
#
# A bad version has as many ops until it must have been found. Rows of campaigns that are not named stay as
# they are. Cargo.lock is as before when it ends: of two versions that are one to Cargo it holds one.
#
# Exit code: 0 if all is as expected, 1 if not, 2 for a campaign that there is not.
set -euo pipefail
cd "$(dirname "$0")"

asked=${1:-}
[ $# -eq 0 ] || shift
wanted=" $* "
work=$(mktemp -d)
cp Cargo.lock "$work/lock"
trap 'cp "$work/lock" Cargo.lock; rm -rf "$work"' EXIT

# A program with this version of the crate in it, for this target.
build() {
  local crate=$1 version=$2 target=$3 same=${2%%.*}
  [ "$same" != 0 ] || same=${version%.*}
  cargo update --quiet --package "$crate@$same" --precise "$version"
  cargo build --quiet --release --target "$target"
  cp "$work/lock" Cargo.lock
  cp "target/$target/release/kvroute-zoo" "$work/zoo"
}

# The first number or text of a key in the report.
value() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\).*/\1/p" "$work/report" | head -n 1; }

# One row of the table: what the run of a version came to.
row() {
  local seen=silent nr_ops failing
  if [ "$(value verdict)" != ok ]; then
    seen=$(value oracle)
    # Those of the traces before, and no more than those of the failing one.
    failing=$(sed -n 's/.*shrinking a trace of \([0-9]*\) ops.*/\1/p' "$work/log" | head -n 1)
  fi
  nr_ops=$(($(value lane_ops) + ${failing:-0}))
  [[ ",$expected," == *",$seen,"* ]] || { seen="${seen:-error} (not $expected)" failed=1; cat "$work/log" >&2; }
  printf '%-18s %-22s %-8s %-7s %9d %8.2f  %s\n' \
    "$campaign" "$crate" "$version" "$seen" "$nr_ops" "$(value seconds)" "$why"
}

for campaign in "$@"; do
  grep "^$campaign " versions.txt >/dev/null || { echo "check.sh: $campaign: no such campaign" >&2; exit 2; }
done
failed=0
: >"$work/rows"
while read -r campaign crate version expected why; do
  if [ "$wanted" != "  " ] && [[ $wanted != *" $campaign "* ]]; then
    grep -E "^$campaign +$crate +$version " table.txt >>"$work/rows" || true
    continue
  fi
  target=x86_64-unknown-linux-gnu
  [[ $campaign != *-32 ]] || target=i686-unknown-linux-musl
  ops=100000000
  ! grep "frames_campaign!(.*\"$campaign\"" src/main.rs >/dev/null || ops=10000000
  ops=${asked:-$ops}
  build "$crate" "$version" "$target"
  "$work/zoo" run "$campaign" --ops "$ops" --jobs 1 --json --output "$work/trace" \
    >"$work/report" 2>"$work/log" || true
  row >"$work/row"
  tee -a "$work/rows" <"$work/row"
done < <(grep -vE '^(#|$)' versions.txt)

{
  printf '%s\n' "# What was seen of each version, after how many ops and seconds on one core; check.sh takes a row anew." ""
  printf '%-18s %-22s %-8s %-7s %9s %8s  %s\n' campaign crate version seen ops seconds "kind of bug"
  cat "$work/rows"
} >table.txt
printf 'versions: %d, as expected: %d\n' "$(wc -l <"$work/rows")" "$(grep -vc '(not ' "$work/rows")"
exit "$failed"
