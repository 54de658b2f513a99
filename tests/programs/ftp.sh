# proftpd and lftp: a connection for each file, which the server accepts only when it is told on the first one (passive), or
# connects itself (active). Without capabilities: those of proftpd's own thread differ from the library's thread's, and the C
# library ends a program whose threads cannot all become the same user.
counted=lftp
slack=8
mkdir "$work/pub"
head -c 20000000 /dev/urandom >"$work/pub/file"
digest=$(sha256sum <"$work/pub/file")
first=$((20000 + RANDOM % 10000))
data=$first-$((first + 99))

serve() {
    cat >"$work/proftpd.conf" <<C
ServerType standalone
DefaultAddress 127.0.0.1
UseIPv6 off
Port $port
PassivePorts ${data/-/ }
User nobody
Group nogroup
ScoreboardFile $work/scoreboard
PidFile $work/pid
DelayTable none
WtmpLog off
TransferLog none
SystemLog none
CapabilitiesEngine off
UseFtpUsers off
<Anonymous $work/pub>
User nobody
Group nogroup
UserAlias anonymous nobody
RequireValidShell off
</Anonymous>
C
    if [[ $mode == as_server ]]; then
        env UWARP_REPORT="$work/report" "$uwarp" run --listen "$port,$data" --ddp "$data" -- \
            proftpd -n -c "$work/proftpd.conf"
    else
        proftpd -n -c "$work/proftpd.conf"
    fi
}

# A server that has accepted the data connection that asks for DDPMODE takes no second one: with a plain server the
# connections for files are plain.
get() {
    local under=()
    if [[ $client == as_client ]]; then
        under=(env UWARP_REPORT="$work/report" "$uwarp" run --ddp "$port" "${client_options[@]}" --)
        [[ $mode == plain ]] ||
            under=(env UWARP_REPORT="$work/report" "$uwarp" run --ddp "$port,$data" --listen "$data" --)
    fi
    [[ $("${under[@]}" lftp -c "set ftp:passive-mode $1; set ftp:port-range $data; set net:max-retries 2; set net:timeout 20; \
        open -p $port 127.0.0.1; cat /file" | sha256sum) == "$digest" ]]
}

warm() {
    get on || return 1
    # The server under the library connects in DDPMODE to the client that asks for active transfers.
    [[ $mode == as_server && $client == plain ]] || get off
}

use() {
    local until=$((SECONDS + seconds))
    while [[ $SECONDS -lt $until ]]; do
        at_once 3 get on && get off || return 1
    done
}

all_ways
