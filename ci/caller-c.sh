#!/usr/bin/env bash
# Builds callers in C with hosted's headers and static library, and explores them.
#   ci/caller-c.sh              our examples: the wrong one is found, the right one is not accused
#   ci/caller-c.sh FILE.c…      a caller of yours; the exit code says what came of it:
#                               0 no mistake, 1 a mistake, 2 nothing can be said
# CC is the compiler, CFLAGS its options; KVROUTE_PLAN and KVROUTE_SEEDS are read by the program.
set -euo pipefail
# The caller's files are named from where one stands.
files=()
for file in "$@"; do files+=("$(realpath -- "$file")"); done
cd "$(dirname "$0")/.."
. ci/common.sh

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

if [ ${#files[@]} -gt 0 ]; then
  build caller "${files[@]}" || die "it does not compile"
  exec "$out/caller"
fi

build queues_right hosted/examples/c/queues_right.c
"$out/queues_right"

build queues_wrong hosted/examples/c/queues_wrong.c
code=0
"$out/queues_wrong" >"$out/report" || code=$?
cat "$out/report"
[ "$code" -eq 1 ] || die "the wrong free of queues_wrong.c was not found"
for said in "'wrong-free'" "queues_wrong.c:" "is served by vmalloc" "stack 'asked'" "device_new"; do
  grep -q -- "$said" "$out/report" || die "the report does not say: $said"
done
