#!/bin/bash
# uwarp against the Linux kernel's iWARP (siw), in both roles. Builds the guest (guest.sh) and boots it, runs the cases,
# and prints a line for each: pass, fail, or not possible and why.
#
#   tests/interop/run.sh                 the whole matrix
#   tests/interop/run.sh --short         a part of it, a few minutes long, for CI
#   tests/interop/run.sh --only REGEX    the cases whose names match
#   tests/interop/run.sh GROUP...        of: rping tools perf verbs rsockets netem torment, and long, which takes ten minutes
#   tests/interop/run.sh --shell         boots, and runs commands from standard input in the guest
#
# Exit status 0 if no case failed, 1 if one did, 2 if the guest could not be built or booted.
#
# The host side is a network namespace of our own with a TAP device; uwarp runs there, and the guest is at the other
# end. What was said and the guest's kernel log are kept in target/interop/results/.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root" || exit 2
export INTEROP_PROFILE=${INTEROP_PROFILE:-release}

if [[ ${1-} != --inside ]]; then
    guest=$("$here/guest.sh") || { echo "interop: not run: the guest could not be built" >&2; exit 2; }
    cargo build --quiet --profile "${INTEROP_PROFILE/debug/dev}" -p uwarp-cli -p uwarp-interop || exit 1
    unshare --net --mount --pid --fork --mount-proc true ||
        { echo "interop: not run: this machine allows no namespaces" >&2; exit 2; }
    # All that is started ends with this script, and its network is nobody else's. unshare itself ignores signals.
    exec {input}<&0
    unshare --net --mount --pid --fork --kill-child --mount-proc "$here/run.sh" --inside "$guest" "$@" <&"$input" &
    inside=$!
    trap 'kill -KILL "$inside" 2>/dev/null' EXIT
    trap 'exit 130' INT TERM HUP
    wait "$inside"
    exit
fi
guest=$2
shift 2
work=$guest/results
rm -rf "$work"
mkdir -p "$work"
profile=$INTEROP_PROFILE
uwarp=${CARGO_TARGET_DIR:-$root/target}/$profile/uwarp
peer=${CARGO_TARGET_DIR:-$root/target}/$profile/uwarp-interop

# shellcheck source=tests/interop/lib.sh
source "$here/lib.sh"
# shellcheck source=tests/interop/programs.sh
source "$here/programs.sh"

short=
only=
shell=
groups=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --short) short=1 ;;
        --only) only=$2; shift ;;
        --shell) shell=1 ;;
        -*) die "unknown option $1" ;;
        *) groups+=("$1") ;;
    esac
    shift
done
if [[ ${#groups[@]} -eq 0 ]]; then
    groups=(rping tools perf verbs rsockets netem)
    [[ -n $short ]] || groups+=(torment)
fi

trap halt_guest EXIT
boot_guest || { say "interop: not run: the guest could not be booted"; exit 2; }
if [[ -n $shell ]]; then
    while IFS= read -r line; do
        if [[ $line == host:* ]]; then bash -c "${line#host:}" </dev/null 7>&- 8>&-; else guest 600 "$line"; fi
        echo "[$?]"
    done
    exit 0
fi
for group in "${groups[@]}"; do
    [[ -f $here/cases/$group.sh ]] || die "there is no group $group"
    # shellcheck source=/dev/null
    source "$here/cases/$group.sh"
done
guest "dmesg" >"$work/dmesg.log"
echo
complaints=$(kernel_complaints)
if [[ -n $complaints ]]; then
    printf "the guest's kernel complained:\n%s\n" "$complaints"
    failed=$((failed + 1))
fi
printf '%d passed, %d failed, %d not possible, in %d s\n' "$passed" "$failed" "$impossible" "$SECONDS"
[[ $failed -eq 0 ]]
