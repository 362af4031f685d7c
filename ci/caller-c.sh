#!/usr/bin/env bash
# Builds callers in C with hosted's headers and static library, and explores them.
#   ci/caller-c.sh                      our examples: the wrong one is found, the right one is not accused
#   ci/caller-c.sh FILE.c…              a caller of yours
#   ci/caller-c.sh --fuzz N FILE.c…     the same under libFuzzer for N seconds, so that the coverage of your code
#                                       guides what is decided; needs clang
# The exit code says what came of it: 0 no mistake, 1 a mistake, 2 nothing can be said.
# CC is the compiler, CFLAGS its options; KVROUTE_PLAN, KVROUTE_BYTES and KVROUTE_SEEDS are read by the program.
set -euo pipefail
fuzzes=
if [ "${1:-}" = --fuzz ]; then
  fuzzes=yes seconds=${2:-}
  shift $(($# < 2 ? $# : 2))
fi
# The caller's files are named from where one stands.
files=()
for file in "$@"; do files+=("$(realpath -- "$file")"); done
cd "$(dirname "$0")/.."
. ci/common.sh

no_clang="there is no clang, which has libFuzzer; install it (Debian: apt-get install clang; Fedora: dnf install clang compiler-rt)"
if [ -n "$fuzzes" ]; then
  is_number "$seconds" || die "'$seconds' is not a number of seconds"
  [ ${#files[@]} -gt 0 ] || die "there is no file to fuzz"
fi
cc=${CC:-gcc}
if ! command -v "$cc" >/dev/null; then
  [ ${#files[@]} -eq 0 ] || die "there is no $cc"
  skip "there is no $cc for callers in C"
  exit 0
fi
target=${CARGO_TARGET_DIR:-target}
out=$target/caller-c
mkdir -p "$out"
quietly cargo rustc -p kvroute-hosted --lib --features c --crate-type staticlib --release ||
  die "kvroute's library does not build"
library=$target/release/libkvroute_hosted.a

# build <program> <file…>: a program that explores the caller in these files.
build() {
  local program=$1
  shift
  # shellcheck disable=SC2086 # options are several words
  "$cc" -g ${CFLAGS:--O1 -Wall -Wextra -Werror} -Ihosted/include "$@" hosted/examples/c/main.c \
    "$library" -lgcc_s -lpthread -ldl -lm -o "$out/$program"
}

# fuzz <program> <seconds> <file…>: the caller under libFuzzer, and what it finds as a report of the program.
fuzz() {
  local program=$1 seconds=$2 log=$out/$1.log
  shift 2
  command -v clang >/dev/null || die "$no_clang"
  # shellcheck disable=SC2086 # options are several words
  clang -g ${CFLAGS:--O1} -fsanitize=fuzzer -Ihosted/include "$@" hosted/examples/c/fuzz.c \
    "$library" -lgcc_s -lpthread -ldl -lm -o "$out/$program-fuzz" || die "it does not compile"
  mkdir -p "$out/$program-corpus"
  rm -f "$out/$program-"{crash,timeout,oom}-*
  if "$out/$program-fuzz" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$out/$program-" \
    "$out/$program-corpus" >"$log" 2>&1; then
    sed -n 's/^Done \([0-9]*\) runs.*/libFuzzer: no mistake in \1 plans/p' "$log"
    return
  fi
  for found in "$out/$program-"{crash,timeout,oom}-*; do
    [ -e "$found" ] || continue
    say "libFuzzer found a plan: $found"
    KVROUTE_BYTES=$found "$out/$program"
    return
  done
  cat "$log" >&2
  die "libFuzzer ended without a finding"
}

if [ ${#files[@]} -gt 0 ]; then
  build caller "${files[@]}" || die "it does not compile"
  [ -z "$fuzzes" ] || { fuzz caller "$seconds" "${files[@]}"; exit; }
  exec "$out/caller"
fi

# barks <command…>: the wrong caller is found, and its report says where.
barks() {
  local code=0
  "$@" >"$out/report" || code=$?
  cat "$out/report"
  [ "$code" -eq 1 ] || die "the wrong free of queues_wrong.c was not found"
  for said in "'wrong-free'" "queues_wrong.c:" "is served by vmalloc" "stack 'asked'" "device_new"; do
    grep -q -- "$said" "$out/report" || die "the report does not say: $said"
  done
}

build queues_right hosted/examples/c/queues_right.c
"$out/queues_right"
build queues_wrong hosted/examples/c/queues_wrong.c
barks "$out/queues_wrong"

if ! command -v clang >/dev/null; then
  skip "$no_clang"
  exit 0
fi
fuzz queues_right 5 hosted/examples/c/queues_right.c
rm -rf "$out/queues_wrong-corpus"
barks fuzz queues_wrong 60 hosted/examples/c/queues_wrong.c
