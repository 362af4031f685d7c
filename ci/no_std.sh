#!/usr/bin/env bash
# Shows that alloc-core needs nothing but `core`: it is linked into a program that has nothing else, and
# built for bare metal where that target is installed or can be.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

bare_metal=x86_64-unknown-none

# The program in ci/no_std_probe uses the allocator and is linked without the C library and without the
# start files, so a symbol of std, of a global allocator or of any dependency has nowhere to come from.
# What the compiler itself calls, bare metal has in compiler_builtins; here it is given an address.
probe() {
  local flags="-C link-arg=-nostartfiles -C link-arg=-nostdlib -C link-arg=-nodefaultlibs -C link-arg=-static"
  flags+=" -C relocation-model=static -C panic=abort"
  local symbol
  for symbol in memcpy memmove memset memcmp bcmp rust_eh_personality _Unwind_Resume; do
    flags+=" -C link-arg=-Wl,--defsym,$symbol=0"
  done
  RUSTFLAGS="$flags" cargo build --release --locked --manifest-path ci/no_std_probe/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/no_std_probe"
}

[ "$(cargo tree --package alloc-core --edges all --prefix none | wc -l)" -eq 1 ] ||
  die "alloc-core has a dependency: $(cargo tree --package alloc-core --edges all --prefix none | xargs)"
quietly probe
if has_target "$bare_metal"; then
  quietly cargo build --package alloc-core --target "$bare_metal"
else
  skip "the target $bare_metal is not to be had here; the linked program stands in for it"
fi
