#!/bin/bash
# What `uwarp torment` runs while it is played against the guest: see cases/torment.sh, which sets the variables.
#
#   torment-ask.sh profile   writes what the target offers now; boots the guest anew first if its kernel has complained
#   torment-ask.sh ready     whether the target answers
#   torment-ask.sh call      makes siw connect to us once, and ends when that connection has
#   torment-ask.sh restart   boots the guest anew
#
# TARGET_ADDRESS, TARGET_PORT  where the target in the guest answers lines
# OUR_ADDRESS                  where siw calls
# WORK                         the directory of the results; cases/torment.sh looks there for what is asked of it
set -uo pipefail

# A question, and how many seconds its answer may take.
ask() {
    exec 3<>"/dev/tcp/$TARGET_ADDRESS/$TARGET_PORT" || exit 1
    printf '%s\n' "$1" >&3
    timeout "$2" cat <&3
}

# Kernel messages that nobody wants to see, since the guest was booted.
complaints() {
    grep -caE "$COMPLAINTS" "$WORK/console.log"
}

# Has it booted, and waits until that has been done.
restart() {
    rm -f "$WORK/rebooted"
    : >"$WORK/reboot"
    for _ in $(seq 3000); do
        [[ -e $WORK/rebooted ]] && return 0
        sleep 0.1
    done
    exit 1
}

case $1 in
    restart)
        printf '%s\tgone\n' "${TORMENT_CASE-}" >>"$WORK/torment.reboots"
        restart
        ;;
    profile)
        if [[ $(complaints) -gt 0 ]]; then
            printf '%s\tcomplaint\n' "${TORMENT_CASE-}" >>"$WORK/torment.reboots"
            restart
        fi
        ask profile 20
        ;;
    ready)
        ask profile 20
        ;;
    call)
        status=$(ask "call $OUR_ADDRESS $TORMENT_PORT" 60)
        exit "${status:-1}"
        ;;
esac
