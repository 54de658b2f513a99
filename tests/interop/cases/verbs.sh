# What the tools do not reach: the verbs program in the guest, and uwarp's counterpart.

# Asked for by the one, then by the other end.
for name in messages solicited invalidate invalidate-solicited reads writes many-reads burst gathers; do
    both_roles "$name, asked by us" serve "$name"
    both_roles "$name, asked by siw" "$name" serve
done
both_roles "empty Reads of an idle siw, asked by us" serve empty-reads
verdict "empty Reads of a busy siw, asked by us" "not possible" "siw answers with octets of what it sent last"
# siw raises its IRD to our ORD, so it is our end that has less than is asked for.
both_roles "many-reads, one at a time, asked by us" "-i 1 -o 1 serve" "many-reads --ird 1 --ord 1"
both_roles "many-reads, one at a time, asked by siw" "-i 1 -o 1 many-reads" "serve --ird 1 --ord 1"
both_roles "mix, 300 operations of each end" "-n 300 mix" "mix --count 300"

# Terminates, both ways. siw lets a Read of a region that may only be written pass.
for name in write-stag write-bounds write-right read-stag read-bounds no-receive; do
    both_roles "Terminate by siw, $name" serve "$name"
done
for name in write-stag write-bounds write-right read-stag read-bounds read-right no-receive; do
    both_roles "Terminate by us, $name" "$name" serve
done
verdict "Terminate by siw, read-right" "not possible" "siw does not look at the right of remote read"
verdict "Terminate by us, wrong MSN" "not possible" "nothing makes siw send one; the negative suite does"

# Setting up.
for options in --no-crc --revision-1 --client-server; do
    check "set-up with $options, we connect" kernel_listens serve "reads $options"
    check "set-up with $options, asked by siw" kernel_listens messages "serve $options"
done
check "set-up with --no-crc, siw connects" uwarp_listens serve "writes --no-crc"
for rtr in w r wr wrs; do
    check "peer-to-peer, RTR $rtr" kernel_listens serve "messages --rtr $rtr"
done
for len in 0 1 100 251; do
    check "private data, $len octets both ways, we connect" kernel_listens "-d $len -e $len quit" "serve --private $len --expect $len"
    check "private data, $len octets both ways, siw connects" uwarp_listens "-d $len -e $len quit" "serve --private $len --expect $len"
done
check "rejected by siw with private data" kernel_listens "-r -d 100 serve" "quit --reject --expect 100"
check "rejected by us with private data" uwarp_listens "-r -e 100 serve" "quit --reject --private 100"
