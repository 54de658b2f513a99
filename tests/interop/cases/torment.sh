# The negative suite against siw, as responder and as initiator: all cases of `uwarp torment`, and what is expected of
# each (torment.expected). siw deviates in many; spec-notes/siw.md says where and why. What counts here is that nothing
# changes without being noticed.
#
# The table has a line for each group of cases; results/torment.json has all of it. Cases that take the guest or its
# target down are `gone` in the list of what is expected, and are played only with INTEROP_TORMENT_ALL=1.

readonly torment_port=7480
# The target answers lines on the port behind that of its connections.
export TARGET_ADDRESS=$guest_addr TARGET_PORT=$((torment_port + 1)) OUR_ADDRESS=$host_addr WORK=$work
export COMPLAINTS=$complaint_pattern
readonly torment_expected=$here/torment.expected

torment_target() {
    guest 'pkill -KILL -x uwarp-verbs; sleep 0.2; true'
    guest_start target 3600 "uwarp-verbs -l $guest_addr -p $torment_port target"
    for _ in $(seq 50); do
        "$here/torment-ask.sh" ready >"$work/torment.profile" 2>&1 7>&- 8>&- && return 0
        sleep 0.1
    done
    cat "$work/torment.profile"
    return 1
}

# The guest is started again, with its target: what a kernel does that has lost a listener is no matter of the next
# case. What they said before is kept.
torment_restart() {
    # In a shell of its own, which ends if the guest is dead.
    (guest 5 'cat /tmp/target.log; dmesg | tail -5') >>"$work/torment.targets" 2>&1
    cat "$work/console.log" >>"$work/console.torment.log"
    halt_guest
    exec 7>&- 8>&-
    rm -f "$work"/agent.*
    ip link del tap0
    boot_guest
    torment_target
}

# torment ARGUMENTS...: one run; a guest that its cases have taken down is brought back.
torment() {
    torment_target || return 1
    rm -f "$work"/reboot* "$work/torment.status" "$work/torment.reboots"
    (
        timeout -k 5 1200 "$uwarp" torment "$guest_addr:$torment_port" --json --time-limit 1100 \
            --profile-command "exec '$here/torment-ask.sh' profile" --restart "exec '$here/torment-ask.sh' restart" \
            --call-me "$host_addr:$((torment_port + 2))" --on-call "exec '$here/torment-ask.sh' call" \
            --recovery 6000 --settle 60 "$@" >"$work/torment.json" 2>"$work/torment.log" 7>&- 8>&-
        echo $? >"$work/torment.status"
    ) &
    while [[ ! -s $work/torment.status ]]; do
        if [[ -e $work/reboot ]]; then
            torment_restart
            mv "$work/reboot" "$work/rebooted"
        fi
        sleep 0.1
    done
    # 1 if a case has not passed.
    [[ $(<"$work/torment.status") -le 1 ]]
}

# The verdicts of a run: `case verdict` for each.
torment_verdicts() {
    awk -F'"' '/^      "name":/ { name = $4 } /^      "verdict":/ { print name, $4 }' "$1"
}

# The line of a group, and what is not as expected.
torment_group() {
    local group=$1 changed counts
    counts=$(awk -v group="$group" '$1 ~ "^" group "/" { n[$2]++ }
        END { for (v in n) printf "%s%d %s", (k++ ? ", " : ""), n[v], v }' "$work/torment.verdicts")
    changed=$(awk -v group="$group" '
        $1 !~ "^" group "/" || /^#/ { next }
        FNR == NR { due[$1] = $2; next }
        !($1 in due) { print $1 ": " $2 ", not in the list"; next }
        !index("|" due[$1] "|", "|" $2 "|") { print $1 ": " $2 ", expected " due[$1] }' \
        "$torment_expected" "$work/torment.verdicts")
    if [[ -z $changed ]]; then
        verdict "torment, $group/" pass "$counts"
    else
        verdict "torment, $group/" fail "$counts"
        printf '%s\n' "$changed" | sed 's/^/    /'
    fi
}

torment_all() {
    local group skip=() name groups=() only_groups=()
    # shellcheck disable=SC2013
    mapfile -t groups < <("$uwarp" torment --list | sed -n 's|^\([a-z-]*\)/.*|\1|p' | sort -u)
    for group in "${groups[@]}"; do
        [[ -n $only ]] && ! [[ "torment, $group/" =~ $only ]] || only_groups+=(--only "$group/")
    done
    [[ ${#only_groups[@]} -gt 0 ]] || return 0
    [[ -n ${INTEROP_TORMENT_ALL-} ]] || while read -r name _; do
        skip+=(--skip "$name")
    done < <(grep -E '^[^#]*[ |]gone$' "$torment_expected")
    # Those that wait for siw's own patience to end.
    [[ -z $short ]] || skip+=(--skip /silence --skip request/trickle --skip pd-length-too-long --skip rtr/missing)
    if ! torment "${only_groups[@]}" "${skip[@]}"; then
        verdict "torment" fail "status $(<"$work/torment.status"), see ${work#"$root"/}/torment.log"
        tail -n 5 "$work/torment.log" | sed 's/^/    /'
        return 0
    fi
    torment_verdicts "$work/torment.json" >"$work/torment.verdicts"
    for group in "${groups[@]}"; do
        grep -q "^$group/" "$work/torment.verdicts" && torment_group "$group"
    done
    [[ ! -s $work/torment.reboots ]] || sed 's/^/    booted anew after /' "$work/torment.reboots"
    guest 'pkill -KILL -x uwarp-verbs; true'
}

torment_all
