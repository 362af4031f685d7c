#!/usr/bin/env bash
# The tests of hosted, which has the unsafe code, under AddressSanitizer; needs a nightly toolchain.
#   ci/asan.sh
#
# That it looks at all is seen on a program of a few lines that writes behind its memory.
# Exit code: 0 if nothing is found, or nothing can be tried, which is said; 1 if something is found; 2 if the
# sanitizer sees nothing at all.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/common.sh

if ! rustup toolchain list 2>/dev/null | grep '^nightly' >/dev/null; then
  skip "there is no nightly toolchain for AddressSanitizer; rustup toolchain install nightly"
  exit 0
fi
target=x86_64-unknown-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What a test's own allocator leaves at its end is the test's business.
export RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 KVROUTE_HEAP_OPS=${KVROUTE_HEAP_OPS:-20000}

cat >"$work/planted.rs" <<'RUST'
fn main() {
    let four = std::hint::black_box(vec![0_u8; 4]);
    // SAFETY: none, which is what is to be seen.
    unsafe { four.as_ptr().cast_mut().add(4).write_volatile(1) };
}
RUST
rustc +nightly $RUSTFLAGS --target $target -o "$work/planted" "$work/planted.rs"
if "$work/planted" >"$work/log" 2>&1 || ! grep -q heap-buffer-overflow "$work/log"; then
  cat "$work/log" >&2
  die "AddressSanitizer does not see a write behind memory"
fi

# Left out: `templates`, which builds other workspaces.
tests=()
for file in hosted/tests/*.rs; do
  name=$(basename "$file" .rs)
  [ "$name" = templates ] || tests+=(--test "$name")
done
cargo +nightly test --quiet -p kvroute-hosted --target $target --lib "${tests[@]}" || exit 1
