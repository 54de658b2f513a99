//! Finding FPDUs in a stream that is cut anywhere (RFC 5044 s4, s6, s8).
//!
//! An input says whether there are markers and a CRC, and then what the stream consists of: proper
//! FPDUs, FPDUs with a mistake in them, and octets that are none at all. A mistake made before the CRC
//! is computed gets past the CRC; so the code behind it is reached.
//!
//! The deframer, however its input is cut, must find what [`wire::ulpdus`] finds octet by octet.

use uwarp_mpa::{Deframed, Deframer, FpduError, max_ulpdu_len, max_wire_len};

use crate::input::Input;
use crate::wire;

/// What an input reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// ULPDUs that were found.
    pub ulpdus: usize,
    /// What ended the stream, if anything did.
    pub error: Option<FpduError>,
}

/// A stream stops growing here; two of the largest FPDUs fit.
const STREAM_MAX: usize = 140_000;

/// Makes a stream and takes it apart again.
///
/// # Panics
/// When the deframer differs from the model, or asks for what it has.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let bits = input.u8();
    let (markers, crc) = (bits & 1 != 0, bits & 2 != 0);
    let step = usize::from(input.u16()) % 5000 + 1;
    let mut stream = Vec::new();
    while !input.is_empty() && stream.len() < STREAM_MAX {
        let next = part(&mut input, stream.len() as u64, markers, crc);
        stream.extend(next);
    }
    let found = deframe(&stream, markers, crc, step);
    assert_eq!(found, wire::ulpdus(&stream, markers, crc));
    Reached {
        ulpdus: found.0.len(),
        error: found.1,
    }
}

/// The next part of the stream.
pub(crate) fn part(input: &mut Input<'_>, position: u64, markers: bool, crc: bool) -> Vec<u8> {
    match input.u8() % 6 {
        0 => input.short_slice().to_vec(),
        1 => wire::frame(position, input.short_slice(), markers, crc),
        2 => {
            let len = input.u16().min(max_ulpdu_len(markers));
            wire::frame(position, &vec![input.u8(); len.into()], markers, crc)
        }
        // One octet is wrong, and the CRC tells.
        3 => {
            let mut fpdu = wire::frame(position, input.short_slice(), markers, crc);
            spoil(&mut fpdu, input);
            fpdu
        }
        // One octet is wrong, and the CRC does not tell.
        4 => {
            let mut fpdu = wire::frame(
                position,
                &vec![7; input.u16().min(4000).into()],
                markers,
                crc,
            );
            spoil(&mut fpdu, input);
            wire::fix_crc(&mut fpdu);
            fpdu
        }
        // Any octets, with their CRC behind them.
        _ => {
            let mut octets = input.short_slice().to_vec();
            octets.extend_from_slice(&[0; wire::CRC_LEN]);
            wire::fix_crc(&mut octets);
            octets
        }
    }
}

fn spoil(fpdu: &mut [u8], input: &mut Input<'_>) {
    let at = usize::from(input.u16()) % fpdu.len();
    fpdu[at] ^= input.u8();
}

/// Everything the deframer finds, when `step` octets arrive at a time.
fn deframe(
    stream: &[u8],
    markers: bool,
    crc: bool,
    step: usize,
) -> (Vec<Vec<u8>>, Option<FpduError>) {
    let mut deframer = Deframer::new(markers, crc);
    let mut found = Vec::new();
    let mut consumed = 0;
    let mut end = 0;
    loop {
        match deframer.next(&stream[consumed..end]) {
            Ok(Deframed::Fpdu(fpdu)) => {
                let buf = &stream[consumed..end];
                let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                assert_eq!(fpdu.copy_ulpdu(buf, 0..usize::MAX, &mut ulpdu), ulpdu.len());
                assert!(
                    fpdu.octets(buf, 0..ulpdu.len())
                        .all(|octets| !octets.is_empty())
                );
                found.push(ulpdu);
                deframer.consume(&fpdu);
                consumed += fpdu.wire_len();
                assert_eq!(deframer.position(), consumed as u64);
            }
            Ok(Deframed::Need(need)) => {
                assert!(need > end - consumed, "it asked for what it had");
                assert!(need <= max_wire_len(markers));
                if end == stream.len() {
                    let leftover = end - consumed;
                    assert_eq!(deframer.eof(leftover).is_err(), leftover > 0);
                    return (found, None);
                }
                end = stream.len().min(end + step);
            }
            Err(error) => {
                assert_eq!(deframer.next(&[]), Err(error), "an error is for ever");
                assert_eq!(deframer.eof(0), Err(error));
                return (found, Some(error));
            }
        }
    }
}
