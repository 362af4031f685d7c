#!/usr/bin/env bash
# Published code as callers: C files of the kernel's, as they are, and crates with an allocator as a parameter.
#
#   zoo/callers/check.sh
#
# Cargo fetches what is run, and nothing of it is copied into this repository. That the C files are really
# looked at is seen on a copy of theirs with a wrong free.
#
# Exit code: 0 if all is as expected, or the C files cannot be tried, which is said; 1 if not; 2 if nothing can be
# said.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# explore <folder>: the decompressor with its LZMA2 decoder from this folder.
explore() {
  ../../ci/caller-c.sh xz.c "$xz"/lib/xz/xz_dec_{stream,bcj,syms}.c "$1/xz_dec_lzma2.c"
}

# The kernel's C files, and a copy of theirs with a wrong free.
c_files() {
  local manifest code=0
  manifest=$(cargo metadata --locked --format-version 1 |
    grep -o '"manifest_path":"[^"]*/xz-embedded-sys-[^"]*/Cargo.toml"' | cut -d'"' -f4)
  xz=$(dirname "$manifest")/xz-embedded/linux
  export CFLAGS="-O1 -Wall -D__KERNEL__ -DCONFIG_XZ_DEC_X86 -I$xz/include -I$xz/lib/xz"

  printf 'lib/xz: '
  explore "$xz/lib/xz"

  sed '/if (DEC_IS_MULTI(s->dict.mode))/{n;s/vfree/kfree/}' "$xz/lib/xz/xz_dec_lzma2.c" >"$work/xz_dec_lzma2.c"
  explore "$work" >"$work/report" || code=$?
  if [ "$code" -ne 1 ] || ! grep -q "'wrong-free'" "$work/report"; then
    cat "$work/report"
    echo "check.sh: a window of vmalloc that kfree frees was not found" >&2
    exit 1
  fi
  sed -n 's/^/lib\/xz, with a wrong free: /;1p' "$work/report"
}

cc=${CC:-gcc}
if command -v "$cc" >/dev/null; then
  c_files
else
  echo "skipped: there is no $cc for the kernel's C files"
fi

cargo test --quiet --locked --test published 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
