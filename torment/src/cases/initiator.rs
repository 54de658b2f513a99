//! The target as initiator in full operation: the same rules hold for either role.

use uwarp_rdmap::{Layer, Opcode};

use super::call::called;
use crate::bench::{Bench, Call};
use crate::case::Case;
use crate::conn::Trouble;
use crate::seen::{Carries, Due, Seen, terminate};
use crate::wire::{At, Spoil, altered, opcode, read, send, tagged, untagged, write};

/// A call that we have accepted, and mischief once the target has spoken.
fn mischief(
    what: impl Fn(&mut Call, &Bench) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut call = bench.called(true)?;
        call.accept()?;
        if call.terms().peer_to_peer {
            // The RTR, which its user knows nothing of.
            let _ = call.conn.message();
        }
        let _ = call.conn.message();
        what(&mut call, bench);
        let mut seen = call.conn.listen();
        // What the target has to say of itself comes when it likes.
        seen.messages.clear();
        Ok(seen)
    }
}

fn refused(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    ulpdu: impl Fn(&Bench) -> Vec<u8> + Send + Sync + 'static,
) -> Case {
    called(
        name,
        ids,
        sends,
        due,
        mischief(move |call, bench| call.conn.say(&ulpdu(bench))),
    )
}

pub(super) fn cases() -> Vec<Case> {
    framing().into_iter().chain(segments()).collect()
}

fn framing() -> Vec<Case> {
    let crc = Due::Terminate(2, 0, 2, Carries::Nothing);
    vec![
        called(
            "call/fpdu-behind-the-reply",
            &["U18", "U17"],
            "an FPDU right behind the Reply, before any came: our fault, which the target may overlook",
            &[Due::Works, Due::AnyTerminate, Due::Close],
            |bench| {
                let mut call = bench.called(true)?;
                let reply = call.reply(call.terms());
                let mut octets = reply
                    .encode()
                    .map_err(|error| Trouble::Setup(error.to_string()))?;
                call.conn.operate(call.request.markers, false, true);
                octets.extend(call.conn.framed(&write(0, 0, b""), Spoil::Nothing));
                call.conn.raw(&octets);
                let works = call.conn.message().is_some();
                if !works {
                    return Ok(call.conn.listen());
                }
                let mut seen = call.conn.finish();
                seen.works = true;
                Ok(seen)
            },
        ),
        called(
            "call/crc-on-the-first",
            &["F25", "F38"],
            "a wrong CRC on our first FPDU",
            &[crc],
            mischief(|call, _| {
                call.conn
                    .say_spoiled(&write(0, 0, b""), Spoil::CrcXor(0x0100_0000));
            }),
        ),
        called(
            "call/crc-on-the-second",
            &["F25", "F38"],
            "a wrong CRC on our second FPDU",
            &[crc],
            mischief(|call, _| {
                call.conn.say(&write(0, 0, b""));
                call.conn.say_spoiled(&write(0, 0, b""), Spoil::CrcXor(1));
            }),
        ),
        refused(
            "call/no-octets",
            &["G1", "D31"],
            "a ULPDU of no octets",
            &[Due::Terminate(1, 0, 0, Carries::Length), Due::AnyTerminate],
            |_| Vec::new(),
        ),
        called(
            "call/fin-in-an-fpdu",
            &["F32", "T24"],
            "half an FPDU, then a FIN",
            &[Due::Close],
            mischief(|call, _| {
                let wire = call.conn.framed(&send(1, &[7; 100]), Spoil::Nothing);
                call.conn.raw(&wire[..wire.len() / 2]);
                call.conn.half_close();
            }),
        ),
        called(
            "call/fin",
            &["D30", "T24"],
            "a FIN behind the Reply",
            &[Due::Close],
            mischief(|call, _| call.conn.half_close()),
        ),
    ]
}

fn segments() -> Vec<Case> {
    let tagged_code = |code| Due::Terminate(1, 1, code, Carries::Segment);
    let operation = |code| Due::Terminate(0, 2, code, Carries::Segment);
    let unexpected = &[operation(6), tagged_code(1), tagged_code(0)];
    vec![
        refused(
            "call/write-to-nowhere",
            &["D35"],
            "a Write to an STag that was never issued",
            &[tagged_code(0)],
            |bench| write(bench.free_stag(), 0, &[0xee; 16]),
        ),
        refused(
            "call/read-of-nowhere",
            &["R42"],
            "a Read of an STag that was never issued",
            // A target with an IRD of 0 has no buffer for it.
            &[
                Due::Terminate(0, 1, 0, Carries::Read),
                Due::Terminate(1, 2, 2, Carries::Segment),
                operation(7),
            ],
            |bench| read(1, bench.free_stag(), 0, 16),
        ),
        refused(
            "call/response-unasked",
            &["R18", "G10"],
            "a Read Response that nobody asked for",
            unexpected,
            |bench| tagged(Opcode::READ_RESPONSE, true, bench.free_stag(), 0, &[1; 8]),
        ),
        refused(
            "call/send-behind-all-receives",
            &["D33", "G6"],
            "a Send whose MSN is far ahead",
            &[
                Due::Terminate(1, 2, 2, Carries::Segment),
                Due::Terminate(1, 2, 3, Carries::Segment),
            ],
            |_| send(0x4000_0000, b"x"),
        ),
        refused(
            "call/queue-4",
            &["D33", "D37"],
            "a Send on queue 4",
            &[Due::Terminate(1, 2, 1, Carries::Segment)],
            |_| untagged(Opcode::SEND, At::whole(4, 1), 0, b"x"),
        ),
        refused(
            "call/ddp-version-0",
            &["D10", "D37"],
            "a Write of DDP version 0",
            &[tagged_code(4)],
            |_| altered(write(0, 0, b""), 0, |ctl| ctl & !3),
        ),
        refused(
            "call/rdmap-version-0",
            &["R04", "R41"],
            "a Write of RDMAP version 0",
            &[operation(5)],
            |_| altered(write(0, 0, b""), 1, |control| control & 0x3f),
        ),
        refused(
            "call/opcode-e",
            &["R41"],
            "opcode 0xe, which is not assigned",
            &[operation(6)],
            |_| untagged(opcode(0xe), At::whole(0, 1), 0, b"x"),
        ),
        refused(
            "call/invalidate-unknown",
            &["R22", "R41"],
            "a Send that invalidates an STag that was never issued",
            &[
                Due::Terminate(0, 1, 9, Carries::Segment),
                Due::Terminate(0, 2, 9, Carries::Segment),
                // Without a posted receive it does not come so far.
                Due::Terminate(1, 2, 2, Carries::Segment),
            ],
            |bench| {
                let stag = bench.free_stag();
                untagged(Opcode::SEND_INVALIDATE, At::whole(0, 1), stag, b"")
            },
        ),
        refused(
            "call/terminate",
            &["R24", "R25", "R38"],
            "a Terminate",
            &[Due::Close],
            |_| untagged(opcode(7), At::whole(2, 1), 0, &terminate(Layer::Llp, 0, 2)),
        ),
    ]
}
