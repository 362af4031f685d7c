# What the scripts share; read by them, not run. They all start at the root of the repository.
# shellcheck shell=bash

CARGO_FUZZ_VERSION=0.13.2

say() { printf '%s\n' "$@"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
# What a step could not do here. ci/check.sh shows such lines of steps that succeed.
skip() { say "skipped: $*"; }

# The names of the campaigns, as the fuzz targets have them (tidy checks that they are the same).
campaigns() {
  local file
  for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done
}

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

# Whether the standard library of a target is there, or can be fetched.
has_target() {
  [ -d "$(rustc --print target-libdir --target "$1")" ] ||
    timeout 120 rustup target add "$1" >/dev/null 2>&1
}

# Runs a command and keeps its output to itself unless it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

need_cargo_fuzz() {
  command -v cargo >/dev/null || die "there is no cargo; install rustup first"
  # libfuzzer-sys compiles libFuzzer's own sources.
  command -v "${CXX:-c++}" >/dev/null ||
    die "libFuzzer needs a C++ compiler and there is no '${CXX:-c++}'; install one (Debian: apt-get install g++; Fedora: dnf install gcc-c++) or name yours in CXX"
  cargo fuzz --version >/dev/null 2>&1 && return
  say "installing cargo-fuzz $CARGO_FUZZ_VERSION (once, about two minutes)"
  cargo install cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked
}

# Sets `fuzz` to the cargo-fuzz command, `sanitizer` to the sanitizer of this run, and `options` to the
# options that a build and a run must share.
#
# Comparisons are not traced: our mutator works on the parsed trace and never asks what was compared,
# and the callbacks take half of the time (538 against 1192 inputs a second of `routed`).
#
# Every crate that a fuzz target is built of forbids unsafe code, and the oracles look at every byte
# themselves, so a sanitizer could only find a fault in a dependency, at about a quarter of the speed. It is therefore
# off unless KVROUTE_SANITIZER asks for one. A sanitizer is at home on nightly; where there is none, the
# default toolchain takes the flag as well (see .cargo/config.toml).
pick_toolchain() {
  sanitizer=${KVROUTE_SANITIZER:-none}
  options=(-s "$sanitizer" --no-trace-compares)
  fuzz=(cargo fuzz)
  if [ "$sanitizer" != none ] && rustup toolchain list 2>/dev/null | grep '^nightly' >/dev/null; then
    fuzz=(cargo +nightly fuzz)
  fi
}
