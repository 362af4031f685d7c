#!/usr/bin/env bash
# Tests of hosted, which has the unsafe code, under Valgrind's memcheck.
#   ci/valgrind.sh
#
# It sees what AddressSanitizer does not: bytes that are used before anybody has written them, and what system
# calls are given. That it looks at all is seen on a program of a few lines that does both wrong.
# Exit code: 0 if nothing is found, or nothing can be tried, which is said; 1 if something is found; 2 if
# Valgrind sees nothing at all.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

if ! command -v valgrind >/dev/null; then
  skip "there is no valgrind; install it (Debian: apt-get install valgrind; Fedora: dnf install valgrind)"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It is some thirty times as slow as without: a few traces and ops go every way that many do.
export KVROUTE_REAL_TRACES=${KVROUTE_REAL_TRACES:-2} KVROUTE_HEAP_OPS=${KVROUTE_HEAP_OPS:-3000}

# The compiler may compare an option and what is in it at once, which is right and looks wrong to memcheck. All of
# the harness is safe code, so nothing is lost there.
cat >"$work/suppressions" <<'SUPPRESSIONS'
{
  an option and what is in it are compared at once
  Memcheck:Cond
  fun:*kvroute_harness*
}
SUPPRESSIONS

# watched <command…>: the command, with a log for each process that it becomes.
watched() {
  rm -f "$work"/log.*
  valgrind --quiet --leak-check=no --suppressions="$work/suppressions" --log-file="$work/log.%p" "$@"
}

# What a log says that is no remark about Valgrind itself.
errors() { grep -hE '^==[0-9]+== (Invalid|Conditional|Use of|Syscall|Process terminating|Jump|Mismatched)' "$work"/log.*; }

cat >"$work/planted.rs" <<'RUST'
fn main() {
    let four = std::hint::black_box(vec![0_u8; 4]);
    let unset = std::hint::black_box(Vec::<u64>::with_capacity(1));
    // SAFETY: none, which is what is to be seen.
    unsafe { four.as_ptr().cast_mut().add(4).write_volatile(1) };
    // SAFETY: as above.
    if unsafe { unset.as_ptr().read_volatile() } == 7 {
        std::process::abort();
    }
}
RUST
rustc -g -o "$work/planted" "$work/planted.rs"
watched "$work/planted" || true
for planted in 'Invalid write of size 1' 'Conditional jump'; do
  errors | grep -q "$planted" || die "Valgrind does not see: $planted"
done

# The tests' programs, one a line.
programs=$(cargo test --no-run --message-format=json -p kvroute-hosted --lib --test real_lanes --test callers \
  --test heaps 2>"$work/build" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') || true
[ -n "$programs" ] || { cat "$work/build" >&2; die "the tests do not build"; }

# Left out are tests of callers that access what is not mapped, where it is Valgrind that is right; and one with more
# mappings than Valgrind keeps (30 000).
left_out=(revoked_area grace_period guard_page crash out_of_freed_memory more_pieces)
failed=0
for program in $programs; do
  name=$(basename "$program")
  code=0
  watched "$program" --quiet "${left_out[@]/#/--skip=}" >"$work/said" 2>&1 || code=$?
  if [ "$code" -ne 0 ] || errors >/dev/null; then
    cat "$work/said" "$work"/log.* >&2
    failed=1
  fi
  nr_processes=$(find "$work" -name 'log.*' | wc -l)
  say "${name%-*} under Valgrind, $nr_processes processes:" "$(grep '^test result: ' "$work/said")"
done
exit "$failed"
