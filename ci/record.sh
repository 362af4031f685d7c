#!/bin/sh
# Records what a kernel allocates, for `cargo kvroute replay`. Needs root, tracefs and a POSIX shell, nothing else.
#
#   ci/record.sh [-o FILE] [-b MIB] SECONDS
#   ci/record.sh [-o FILE] [-b MIB] -- COMMAND [ARGUMENT…]
#
# It records the events of kmalloc, kmem_cache and the page allocator, and probes of its own on kvmalloc, kvfree,
# vmalloc and vfree, of all tasks, for so many seconds or while the command runs. Ctrl-C ends it earlier;
# what was recorded until then is written.
#
#   -o FILE     where to write (kvroute.trace). With the ending .zst it is compressed, which needs zstd. `-` is the
#               standard output.
#   -b MIB      the buffer of each CPU in MiB (32). A full one loses its oldest events, and the script says how many.
#   -t FOLDER   where tracefs is mounted (/sys/kernel/tracing, else /sys/kernel/debug/tracing).
#
# Nothing that was set before is changed: the script records in a tracing instance of its own and puts its probes
# into a group of its own, and removes both at its end. What a killed run left behind, the next one removes.
#
# Exit code: that of the command, or 0; 1 if the recording could not be made; 2 for wrong arguments or a system that
# cannot record; 128 and the signal's number after a signal.
#
# shellcheck disable=SC2317 # What a trap calls looks as if nothing did.
set -eu

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 2; }
usage() { die "$*; usage: ci/record.sh [-o FILE] [-b MIB] [-t FOLDER] SECONDS | -- COMMAND [ARGUMENT…]"; }
is_count() { case $1 in '' | 0* | *[!0-9]* | ???????*) return 1 ;; esac; }

# --- What is asked for ------------------------------------------------------------------------------------------

output=kvroute.trace buffer=32 tracefs='' span='seconds'

# Sets `seconds`, or leaves it empty if the arguments are a command.
parse_span() {
  seconds=''
  [ $# -gt 0 ] || usage "say for how long, or which command to run"
  if [ "$span" = command ]; then
    command -v "$1" >/dev/null || die "there is no command '$1'"
    return
  fi
  is_count "$1" || usage "'$1' is not a number of seconds (a command comes after --)"
  [ $# -eq 1 ] || usage "what is '$2' after the seconds? (a command comes after --)"
  seconds=$1
}

check_output() {
  case $output in
    *.zst) command -v zstd >/dev/null || die "$output: there is no zstd; give a name without .zst" ;;
  esac
  [ "$output" = - ] && return
  folder=$(dirname -- "$output")
  [ -d "$folder" ] || die "$output: there is no folder $folder"
  [ ! -d "$output" ] || die "$output is a folder"
  [ -w "$folder" ] || die "$output: the folder $folder is not writable"
}

# --- What the system can do -------------------------------------------------------------------------------------

find_tracefs() {
  if [ -z "$tracefs" ]; then
    for tracefs in /sys/kernel/tracing /sys/kernel/debug/tracing; do
      [ ! -e "$tracefs/trace" ] || break
    done
  fi
  if [ ! -e "$tracefs/trace" ]; then
    [ "$(id -u)" -eq 0 ] || die "no tracefs in $tracefs that this user can see; run as root"
    die "no tracefs in $tracefs; mount it (mount -t tracefs nodev /sys/kernel/tracing), or say with -t where it is"
  fi
  if [ ! -w "$tracefs/kprobe_events" ] || [ ! -w "$tracefs/instances" ]; then
    [ "$(id -u)" -eq 0 ] || die "$tracefs is not writable; run as root"
    die "$tracefs: kprobe_events or instances is missing or not writable (CONFIG_KPROBE_EVENTS; not under lockdown)"
  fi
  [ -e "$tracefs/events/kmem/kmalloc" ] || die "$tracefs: this kernel has no event kmem/kmalloc"
}

# Whether the kernel has the function. It may be there and yet carry no probe; then adding the probe says so.
has_function() { grep -q " [tT] $1\$" /proc/kallsyms; }

# The first of the functions that the kernel has, or nothing.
first_function() {
  for name; do
    if has_function "$name"; then printf '%s' "$name"; return; fi
  done
}

# --- Probes -----------------------------------------------------------------------------------------------------

# add <definition>: adds a probe, or removes one if the definition begins with `-:`.
add() { { printf '%s\n' "$1" >>"$tracefs/kprobe_events"; } 2>/dev/null; }

add_or_die() {
  ! add "$1" || return 0
  say "the kernel refuses the probe '$1'"
  tail -n 3 "$tracefs/error_log" 2>/dev/null >&2 || true
  exit 1
}

# A call is followed by its return, which a kretprobe reports. It can follow only so many calls at once; a call of
# kvmalloc or vmalloc may sleep, so there is room for many.
RETURNS=r1024

# kvmalloc is kvmalloc_node(size, flags, node) up to 6.9 and __kvmalloc_node_noprof(size, flags, node) since 6.10;
# with CONFIG_SLAB_BUCKETS (6.11) the buckets stand after the size and move the others by one.
# A kernel that knows its functions' types (CONFIG_PROBE_EVENTS_BTF_ARGS, 6.6) takes the arguments by name.
add_kvmalloc() {
  function=$(first_function kvmalloc_node __kvmalloc_node_noprof kvmalloc_node_noprof)
  [ -n "$function" ] || die "this kernel has none of the functions that kvmalloc has been called since 4.12"
  flags=2
  [ ! -e /sys/kernel/slab/kmalloc_buckets ] || flags=3
  add "p:$group/kv $function size=size:u64 gfp=flags:x32 node=node:s32" ||
    add_or_die "p:$group/kv $function size=\$arg1:u64 gfp=\$arg$flags:x32 node=\$arg$((flags + 1)):s32"
  add_or_die "$RETURNS:$group/kvr $function ret=\$retval:x64"
  add_or_die "p:$group/kvf kvfree addr=\$arg1:x64"
}

# All of vmalloc's callers come through __vmalloc_node_range(size, align, start, end, flags, …); since 6.10 its name
# ends in _noprof.
add_vmalloc() {
  function=$(first_function __vmalloc_node_range __vmalloc_node_range_noprof)
  [ -n "$function" ] || die "this kernel has no function __vmalloc_node_range"
  add_or_die "p:$group/vm $function size=\$arg1:u64 align=\$arg2:u64 start=\$arg3:x64 end=\$arg4:x64 gfp=\$arg5:x32"
  add_or_die "$RETURNS:$group/vmr $function ret=\$retval:x64"
  add_or_die "p:$group/vf vfree addr=\$arg1:x64"
}

# --- Recording --------------------------------------------------------------------------------------------------

# remove <group>: removes a run's instance and probes, whoever made them.
remove() {
  instance_of_group=$tracefs/instances/$1
  if [ -d "$instance_of_group" ]; then
    echo 0 >"$instance_of_group/tracing_on" || true
    echo 0 >"$instance_of_group/events/enable" || true
    rmdir "$instance_of_group" || say "could not remove $instance_of_group"
  fi
  for probe in kv kvr kvf vm vmr vf; do
    if grep -q ":$1/$probe " "$tracefs/kprobe_events"; then
      add "-:$1/$probe" || say "could not remove the probe $1/$probe"
    fi
  done
}

# Removes what runs left behind that had no time to: their process is gone.
remove_stale() {
  stale=$({ ls "$tracefs/instances"; sed -n 's,^[^:]*:\([^/]*\)/.*,\1,p' "$tracefs/kprobe_events"; } |
    sed -n '/^kvroute_[0-9]*$/p' | sort -u)
  for other in $stale; do
    [ -d "/proc/${other#kvroute_}" ] || remove "$other"
  done
}

set_up() {
  group=kvroute_$$ instance=$tracefs/instances/kvroute_$$
  mkdir "$instance"
  echo 0 >"$instance/tracing_on"
  echo $((buffer * 1024)) >"$instance/buffer_size_kb" 2>/dev/null || die "there is no memory for $buffer MiB a CPU"
  # The clock that all CPUs share: a free on another CPU must not seem to come before its allocation.
  echo mono >"$instance/trace_clock"
  add_kvmalloc
  add_vmalloc
  for event in kmalloc kmalloc_node kmem_cache_alloc kmem_cache_alloc_node kfree kmem_cache_free mm_page_alloc \
    mm_page_free; do
    # The two of a node are gone since 6.1.
    [ ! -e "$instance/events/kmem/$event" ] || echo 1 >"$instance/events/kmem/$event/enable"
  done
  echo 1 >"$instance/events/$group/enable"
}

# Notes that a signal ends the recording, by its number.
signalled() {
  signal=$((128 + $1))
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
}

# Runs a command and waits for it. It runs in the background, since a shell puts signals off while it waits for
# what runs in front; and then it would read from nowhere, had it not been given our standard input.
run() {
  "$@" <&3 &
  child=$!
  [ -z "$signal" ] || kill "$child" 2>/dev/null || true
  wait "$child" || status=$?
  [ -z "$signal" ] || { wait "$child" 2>/dev/null || true; }
  child=''
}

record() {
  exec 3<&0
  echo 1 >"$instance/tracing_on"
  if [ -n "$seconds" ]; then
    run sleep "$seconds"
  elif [ "$output" = - ]; then
    run "$@" >&2
  else
    run "$@"
  fi
  echo 0 >"$instance/tracing_on"
}

# Says what the recording holds and what it has missed.
tell() {
  say "$(awk -F'[:/ ]+' '/entries-in-buffer/ { print $4; exit }' "$instance/trace") events in $output"
  lost=$(cat "$instance"/per_cpu/cpu*/stats |
    awk -F': ' '/^(overrun|commit overrun|dropped events):/ { n += $2 } END { print n + 0 }')
  [ "$lost" -eq 0 ] || say "lost $lost events: the buffer of $buffer MiB a CPU is too small for this; see -b"
  missed=$(awk -v name="^($group/)?(kv|kvr|kvf|vm|vmr|vf)\$" '$1 ~ name { n += $3 } END { print n + 0 }' \
    "$tracefs/kprobe_profile")
  [ "$missed" -eq 0 ] || say "the probes missed $missed calls or returns"
}

# Addresses must be whole: they tell which pages are under which objects, and the probes print them whole. The option
# is about printing alone. Kernels before 5.12 lack it, and some (6.1.192) print no names of flags when it is off.
show_addresses() {
  if [ -e "$instance/options/hash-ptr" ]; then
    echo 0 >"$instance/options/hash-ptr"
    grep -q -m 1 'gfp_flags=\( \|$\)' "$instance/trace" || return 0
    echo 1 >"$instance/options/hash-ptr"
  fi
  grep -q no_hash_pointers /proc/cmdline ||
    say "this kernel prints hashed addresses unless booted with no_hash_pointers; see docs/recording.md"
}

# The text of the recording, and first the kernel that it is of, since what numbers of flags mean hangs on it.
print_recording() {
  printf '# os release : %s\n' "$(uname -r)"
  cat "$instance/trace"
}

# Writes the recording beside its place and moves it there once it is whole; devices and pipes are written to.
write_output() {
  target=$output part=''
  case $output in
    -) target=/dev/stdout ;;
    *) if [ ! -e "$output" ] || [ -f "$output" ] && [ ! -L "$output" ]; then part=$output.part.$$ target=$part; fi ;;
  esac
  case $output in
    -) print_recording ;;
    *.zst)
      # A shell without pipefail tells of the last command alone, and half a recording packs well.
      failed=$({ { print_recording || echo 1 >&4; } | zstd -q -c >"$target" || echo 1 >&4; } 4>&1)
      [ -z "$failed" ] || exit 1
      ;;
    *) print_recording >"$target" ;;
  esac
  [ -z "$part" ] || mv -f -- "$part" "$output"
  part=''
}

finish() {
  code=$?
  trap - EXIT
  trap '' INT TERM HUP
  [ -z "$part" ] || rm -f -- "$part"
  # What was never set up has nothing to remove.
  [ -z "$group" ] || remove "$group"
  exit "$code"
}

while [ $# -gt 0 ]; do
  case $1 in
    -o | -b | -t)
      [ $# -gt 1 ] || usage "$1 wants a value"
      case $1 in -o) output=$2 ;; -b) buffer=$2 ;; -t) tracefs=$2 ;; esac
      shift 2
      ;;
    --)
      span='command'
      shift
      break
      ;;
    -*) usage "there is no option '$1'" ;;
    *) break ;;
  esac
done
is_count "$buffer" || usage "'$buffer' is not a number of MiB"
[ -n "$output" ] || usage "-o wants a file"
parse_span "$@"
check_output
find_tracefs

group='' part='' child='' signal='' status=0
remove_stale
trap finish EXIT
trap 'signalled 1' HUP
trap 'signalled 2' INT
trap 'signalled 15' TERM
set_up
record "$@"
show_addresses
write_output
tell
exit "${signal:-$status}"
