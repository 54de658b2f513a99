//! All Terminate codes, and which of them no peer can bring about.

use std::io::Write;

use uwarp_rdmap::{Layer, TerminateCode};

/// A code and, if nothing that a peer sends can bring it about, why not.
type Code = (Layer, u8, u8, Option<&'static str>);

const LOCAL: Option<&str> = Some("a failure of the target's own");
const UNSAID: Option<&str> = Some("for what no other code names; every rule here has another code");

/// The codes of RFC 5040 s4.8, RFC 5041 s7.2, RFC 5044 s8 and RFC 6581 s8.
const CODES: [Code; 34] = [
    (Layer::Rdmap, 0, 0x00, LOCAL),
    (Layer::Rdmap, 1, 0x00, None),
    (Layer::Rdmap, 1, 0x01, None),
    (Layer::Rdmap, 1, 0x02, None),
    (Layer::Rdmap, 1, 0x03, None),
    (Layer::Rdmap, 1, 0x04, None),
    (Layer::Rdmap, 1, 0x09, None),
    (Layer::Rdmap, 1, 0xff, UNSAID),
    (Layer::Rdmap, 2, 0x05, None),
    (Layer::Rdmap, 2, 0x06, None),
    (Layer::Rdmap, 2, 0x07, None),
    (Layer::Rdmap, 2, 0x08, LOCAL),
    (Layer::Rdmap, 2, 0x09, None),
    (Layer::Rdmap, 2, 0xff, None),
    (Layer::Ddp, 0, 0x00, None),
    (Layer::Ddp, 1, 0x00, None),
    (Layer::Ddp, 1, 0x01, None),
    (Layer::Ddp, 1, 0x02, None),
    (Layer::Ddp, 1, 0x03, None),
    (Layer::Ddp, 1, 0x04, None),
    (Layer::Ddp, 2, 0x01, None),
    (Layer::Ddp, 2, 0x02, None),
    (Layer::Ddp, 2, 0x03, None),
    (Layer::Ddp, 2, 0x04, None),
    (Layer::Ddp, 2, 0x05, None),
    (Layer::Ddp, 2, 0x06, None),
    (
        Layer::Ddp,
        3,
        0x00,
        Some("reserved for the layer below DDP, which has codes of its own"),
    ),
    (
        Layer::Llp,
        0,
        0x01,
        Some("TCP is lost: there is nothing left to send it over"),
    ),
    (Layer::Llp, 0, 0x02, None),
    (Layer::Llp, 0, 0x03, None),
    (
        Layer::Llp,
        0,
        0x04,
        Some("TCP is closed at once, without a Terminate (RFC 5044 s8, F36)"),
    ),
    (Layer::Llp, 0, 0x05, None),
    (Layer::Llp, 0, 0x06, None),
    (Layer::Llp, 0, 0x07, None),
];

/// Writes the codes that no case brings about, and why.
pub(crate) fn list(out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTerminate codes that nothing a peer sends can bring about:"
    )?;
    for (layer, etype, code, why) in CODES {
        if let Some(why) = why {
            let code = TerminateCode::new(layer, etype, code);
            writeln!(out, "    {code}: {why}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Due;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_brought_about_or_said_to_be_out_of_reach() {
        let due: BTreeSet<_> = crate::cases::all()
            .into_iter()
            .flat_map(|case| case.due)
            .filter_map(|due| match due {
                Due::Terminate(layer, etype, code, _) => Some((layer, etype, code)),
                _ => None,
            })
            .collect();
        for (layer, etype, code, why) in CODES {
            let provoked = due.contains(&(layer.bits(), etype, code));
            assert_eq!(provoked, why.is_none(), "{layer:?}/{etype}/{code:02x}");
        }
    }

    #[test]
    fn every_code_with_a_meaning_is_here() {
        for layer in [Layer::Rdmap, Layer::Ddp, Layer::Llp] {
            for (etype, code) in
                (0..=3u8).flat_map(|etype| (0..=255u8).map(move |code| (etype, code)))
            {
                let known = TerminateCode::new(layer, etype, code).meaning() != "unknown error";
                // The catastrophic ones have one code for all.
                let listed = CODES.iter().any(|(l, e, c, _)| {
                    (*l, *e) == (layer, etype)
                        && (*c == code || etype == 0 && *c == 0 && layer != Layer::Llp)
                });
                assert!(!known || listed, "{layer:?}/{etype}/{code:02x}");
            }
        }
    }
}
