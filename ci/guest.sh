# Guests for ci/live.sh: what they need, how they are made, and what they told. Read by it, not run.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Variables are shared with who reads this.

guests=$PWD/target/live

# What a guest can be told to do: the files in live/guest that are no first program and no list.
workloads() { (cd live/guest && find . -type f ! -name init ! -name drivers | sed 's,^./,,' | sort | paste -sd ' '); }
has_workload() { case " $(workloads) " in *" $1 "*) ;; *) return 1 ;; esac; }

# They load the module themselves or set its plan, so they say nothing of a run without it.
has_own_plans() { [[ $1 =~ ^(planted|cost|unload|tool|loop)$ ]]; }

# Sets what a guest may take: `limit` in seconds, and `cpus`; and where the `usual` is kept.
read_settings() {
  limit=${KVROUTE_GUEST_SECONDS:-300} cpus=${KVROUTE_GUEST_CPUS:-1} usual=${KVROUTE_TOLD:-$guests}
  is_number "$limit" || die "KVROUTE_GUEST_SECONDS: '$limit' is not a number of seconds"
  is_number "$cpus" || die "KVROUTE_GUEST_CPUS: '$cpus' is not a number of processors"
}

# The first thing that is missing, with the command that installs it; or nothing.
missing_package() {
  local need
  for need in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod cpio:cpio make:make gcc:gcc \
    mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs xz:xz-utils; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" >/dev/null && continue
    say "no ${need%%:*} (apt-get install ${need#*:})"
    return
  done
}

kernel_advice() { say "apt-get install linux-image-amd64 linux-headers-amd64"; }

# The releases that begin like this and have an image, modules and headers.
installed_releases() {
  local folder release
  for folder in /lib/modules/*; do
    release=${folder##*/}
    # 6.1 is not the beginning of 6.12.
    [[ -z $1 || $release == "$1" || $release == "$1"[!0-9]* ]] || continue
    [[ -r /boot/vmlinuz-$release && -d $folder/build && -d $folder/kernel ]] || continue
    say "$release"
  done
}

# build_modules <release>: kvroute.ko and those of live/planted, in a folder of their own, unless they are of these sources.
build_modules() {
  local folder=$guests/$1
  [ ! -e "$folder/built" ] || [ -n "$(find live -newer "$folder/built")" ] || return 0
  rm -rf "$folder"
  mkdir -p "$folder"
  cp -r live "$folder/source"
  quietly nice make -s -C "/lib/modules/$1/build" M="$folder/source" modules
  # A folder at a time: modules below are else built into those above.
  quietly nice make -s -C "/lib/modules/$1/build" M="$folder/source/planted" modules
  touch "$folder/built"
}

# copy_modules <release> <root> <order> <module…>: with all that they need, in the order of loading.
copy_modules() {
  local release=$1 root=$2 order=$3 module path name
  shift 3
  for module; do
    modprobe -S "$release" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' | while read -r path; do
    name=${path##*/}
    case $name in
      *.xz) xz -dc "$path" >"$root/m/${name%.xz}" ;;
      *) cp "$path" "$root/m/" ;;
    esac
    say "${name%.xz}"
  done >"$root/m/$order"
}

build_tool() { quietly nice cargo build -p kvroute-harness --target-dir target; }

# copy_tool <root>: the program `kvroute`, with the libraries that it is linked to.
copy_tool() {
  local library
  strip -o "$1/bin/kvroute" target/debug/kvroute
  ldd target/debug/kvroute | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$1${library%/*}"
    cp "$library" "$1$library"
  done
}

# make_root <release> <workload>: everything but the plan, which is another archive behind this one.
make_root() {
  local release=$1 root=$guests/root folder=$guests/$1/source
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/m" "$root/jobs"
  cp "$(command -v busybox)" "$root/bin/busybox"
  cp live/guest/init "$root/init"
  cp live/guest/* "$root/jobs/"
  cp live/planted/plans "$root/plans"
  for module in "$folder/kvroute.ko" "$folder"/planted/*.ko; do
    strip --strip-debug -o "$root/${module##*/}" "$module"
  done
  chmod +x "$root/init"
  : >"$root/m/order"
  # shellcheck disable=SC2046 # The file is a list of words.
  case $2 in
    files) copy_modules "$release" "$root" order virtio_pci virtio_blk ext4 xfs btrfs ;;
    modules) copy_modules "$release" "$root" drivers $(cat live/guest/drivers) ;;
    network | loop) copy_modules "$release" "$root" order veth dummy bridge ;;
    tool | cost) copy_tool "$root" ;;
  esac
  pack "$root"
}

pack() { (cd "$1" && find . | cpio -o -H newc --quiet | gzip -1); }

# The disks of the workload, as options of qemu in `drives`.
make_disks() {
  local kind size
  drives=()
  [ "$1" = files ] || return 0
  for kind in ext4:64M xfs:320M btrfs:128M; do
    size=${kind#*:} kind=${kind%:*}
    rm -f "$guests/$kind.img"
    truncate -s "$size" "$guests/$kind.img"
    PATH=$PATH:/usr/sbin:/sbin quietly "mkfs.$kind" -q "$guests/$kind.img"
    drives+=(-drive "file=$guests/$kind.img,if=virtio,format=raw,cache=unsafe")
  done
}

# run_guest <release> <workload> <plan>: leaves what it printed in console, what it told in told.
# Under the plan `none` the module is not loaded.
run_guest() {
  local release=$1 small=$guests/small drives clock=()
  if [ "${made:-}" != "$release-$2" ]; then
    make_root "$release" "$2" >"$guests/root.gz"
    made=$release-$2
  fi
  make_disks "$2"
  rm -rf "$small"
  mkdir -p "$small"
  say "$3" >"$small/plan"
  [ "$3" != none ] || rm "$small/plan"
  say "$2" >"$small/workload"
  say "$limit" >"$small/limit"
  { cat "$guests/root.gz"; pack "$small"; } >"$guests/initrd"
  : >"$guests/told"
  # Processors take turns: with a thread for each under qemu 7.2, guests hang or oops in functions whose first bytes the kernel has just
  # changed, as if the emulator went on with what was there before. The timer may come late on a busy machine, and its kernel would take it for broken
  # (no_timer_check).
  # What costs are measured with counts instructions, so that a busy machine does not change them.
  [ "$2" != cost ] || clock=(-icount "shift=0,sleep=off")
  # In the background, so that a signal to the script is heard at once and ends the guest as well.
  timeout -k 5 "$limit" nice qemu-system-x86_64 -accel tcg,thread=single -cpu max -m "${KVROUTE_GUEST_MIB:-1024}" -smp "$cpus" "${clock[@]}" \
    -display none -no-reboot -nodefaults -serial "file:$guests/console" -serial "file:$guests/told" -kernel "/boot/vmlinuz-$release" \
    -initrd "$guests/initrd" "${drives[@]}" -append "console=ttyS0 panic=-1 no_timer_check mitigations=off quiet loglevel=5" </dev/null 2>/dev/null &
  guest=$!
  ended=0
  wait "$guest" || ended=$?
  guest=
  sed -i 's/\r$//' "$guests/told" "$guests/console"
}

end_guest() { [ -z "${guest:-}" ] || kill "$guest" 2>/dev/null || true; }

keep_logs() {
  cp "$guests/console" "$guests/logs/$1.console"
  cp "$guests/told" "$guests/logs/$1.told"
}

# told <word>: what stands behind it, or a dash.
told() { awk -v word="$1" '$1 == word { print $2; found = 1; exit } END { if (!found) print "-" }' "$guests/told"; }

# section <name>: a file of the module's, as the guest told it; nothing if it did not come to its end.
section() { ! grep -q '^== end$' "$guests/told" || sed -n "/^== $1\$/,/^== /{/^== /!p}" "$guests/told"; }

# Callers that vmalloc served, of all; or a dash.
callers_served() { section callers | awk '!/^#/ { all++; served += $2 > 0 } END { print all ? served "/" all : "-" }'; }

# Callers whom the plan was asked about, and whom vmalloc has not served.
never_served() { section callers | awk '!/^#/ && !$2 && $6 { print $7 }' | paste -sd ' '; }

# leave_told <verdict>: what `kvroute live shrink --guests` looks at, where it wants it.
leave_told() {
  local file
  for file in stats callers reports; do
    [ -z "$(section stats)" ] || section "$file" >"$KVROUTE_TOLD/$file"
  done
  case $1 in
    ok* | reported:*) ;;
    *) say "${1%%:*}" >"$KVROUTE_TOLD/kind" ;;
  esac
}

# plan_word <word> <plan> <else>: what a plan says of it at last.
plan_word() {
  local word said=$3
  for word in $2; do
    [[ $word != "$1"=* ]] || said=${word#*=}
  done
  say "$said"
}

# decided_nothing <plan>: whether it was to decide requests, and came to none.
decided_nothing() {
  local count
  if [ "$(plan_word permille "$1" 0)" != 0 ]; then
    count=by_$(plan_word route "$1" vmalloc)
  elif [ "$(plan_word fail "$1" 0)" != 0 ]; then
    count=failed
  else
    return 1
  fi
  [ "$(told "$count")" = 0 ]
}

# The drivers of the workload that the guest had loaded, or had not.
loaded() { sed -n 's/^loads //p' "$guests/told" | sort -u; }
not_loaded() { sort -u live/guest/drivers | comm -23 - <(loaded); }

# Keeps what a guest without the module told: other guests are judged by it.
keep_usual() { warnings >"$usual/usual"; loaded >"$usual/usual_drivers"; }
forget_usual() { rm -f "$usual/usual" "$usual/usual_drivers"; }
knows_usual() { [ -e "$usual/usual" ]; }

# lost_drivers <plan>: those that load without the module and did not here. Where requests fail, drivers may.
lost_drivers() {
  knows_usual && [ "$(plan_word fail "$1" 0)" = 0 ] || return 0
  comm -23 "$usual/usual_drivers" <(loaded)
}

# The kernel's own warnings, without what differs between two runs; and those that it does not give without the module.
warnings() { sed -n 's/^kernel \[[^]]*\] //p' "$guests/told" | sed 's/CPU: [0-9]* PID: [0-9]* //' | sort -u; }
new_warnings() { if knows_usual; then warnings | comm -23 - "$usual/usual"; else warnings; fi; }
last_line() { tail -n 1 "$guests/console" | cut -c -60; }

# verdict_of <workload> <plan>: ok, or the worst that happened.
verdict_of() {
  if ! grep -q '^done$' "$guests/told"; then
    # 124 is what timeout ends with.
    case $ended in 124) say "hang: $(last_line)" ;; *) say "crash: $(last_line)" ;; esac
  elif grep -q '^broken: ' "$guests/told"; then
    say "$(grep '^broken: ' "$guests/told" | head -n 3 | paste -sd ';')"
  elif [ "$1" = planted ]; then
    say "ok, as planted"
  elif grep -q '^still loaded' "$guests/told"; then
    say "cannot be unloaded"
  elif [ -n "$(new_warnings)" ]; then
    say "the kernel warns: $(new_warnings | head -n 1 | cut -c -60)"
  elif [ "$(told reported)" != 0 ] && [ "$(told reported)" != - ]; then
    say "reported: $(sed -n '/^== reports/,/^== /p' "$guests/told" | sed -n '3p')"
  elif [ -n "$(lost_drivers "$2")" ]; then
    say "does not load: $(lost_drivers "$2" | paste -sd ' ' | cut -c -60)"
  elif decided_nothing "$2"; then
    say "nothing was routed"
  elif [ -n "$(warnings)" ]; then
    say "ok (warns without the module too)"
  else
    say ok
  fi
}
