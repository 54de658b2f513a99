//! The rules whose breach can be seen on the wire.

use std::fmt;

use serde::Serialize;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $id:ident,)+) => {
        /// A requirement that the octets of a sender can be seen to break, by its id.
        ///
        /// The ids are those of `spec-notes/`: F and U are RFC 5044, E is RFC 6581, D is RFC 5041, R is
        /// RFC 5040, X is RFC 7306, and G are gaps of the RFCs. Where the rule is one for receivers, what
        /// is named is its other half: the sender made what a receiver has to refuse.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Rule {
            $($(#[doc = $doc])+ $id,)+
        }

        impl Rule {
            /// Every rule that can be named.
            pub const ALL: &[Self] = &[$(Self::$id),+];

            /// The requirement's id, as in `F15`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$id => stringify!($id),)+
                }
            }
        }
    };
}

rules! {
    /// ULPDU_Length is 0 or above 64768.
    F04,
    /// Padding is not 0.
    F09,
    /// The reserved half of a marker is not 0.
    F11,
    /// The low two bits of FPDUPTR are not 0.
    F12,
    /// A marker does not point at the start of its FPDU, or is not where one is due.
    F15,
    /// CRC is in use, and that of an FPDU is wrong.
    F25,
    /// The connection ends inside an FPDU.
    F34,
    /// What begins like a Request has another key.
    U04,
    /// What answers a Request has another key than a Reply.
    U05,
    /// Markers where the peer asked for none, or none where it asked for them.
    U06,
    /// Reserved bits of a startup frame are set, or R in a Request.
    U08,
    /// The revision is none that is known.
    U09,
    /// PD_Length is above 512, or the connection ends before there were so many octets.
    U10,
    /// A Reply to what is no proper Request, or to none at all.
    U12,
    /// The initiator goes on although the Reply is improper.
    U15,
    /// The responder sends an FPDU before it has had one.
    U18,
    /// Both ends have the same role.
    U20,
    /// Octets between the Request and its Reply: more than PD_Length said, or FPDUs too early.
    U21,
    /// The first FPDU of a peer-to-peer set-up is no RTR.
    E01,
    /// S in a frame of a revision that has none.
    E02,
    /// S with fewer than 4 octets of private data.
    E04,
    /// A Reply's ORD exceeds the Request's IRD.
    E08,
    /// A depth that was not to be negotiated is, or the other way round.
    E13,
    /// A peer-to-peer Request offers no RTR.
    E14,
    /// A Request's A is not repeated.
    E16,
    /// A peer-to-peer Reply names no RTR.
    E17,
    /// The RTR is none of those agreed on.
    E18,
    /// A is clear, and another of the flags is set; or A was not asked for.
    E19,
    /// An enhanced Request has a plain Reply, or the other way round.
    E21,
    /// A message begins before the one under way has had its last segment.
    D07,
    /// Reserved bits of the DDP control octet are set.
    D09,
    /// The DDP version is not 1.
    D10,
    /// The STag changes within a message.
    D12,
    /// RsvdULP changes within a message.
    D13,
    /// An MSN is not the next of its queue.
    D15,
    /// A message begins with another MO than 0.
    D16,
    /// A message is longer than any may be, or never comes to its end.
    D18,
    /// The segments of a message leave octets out or overlap.
    D20,
    /// A tagged offset wraps.
    D35,
    /// A Terminate has a code that DDP does not define.
    D37,
    /// An opcode that is not assigned, or in a segment of the wrong kind or for the wrong queue.
    R03,
    /// The RDMAP version is not 1, or reserved bits beside it are set.
    R04,
    /// RsvdULP of a message that has nothing to say there is not 0.
    R05,
    /// A Read Request of another size, or a Terminate with a code that RDMAP does not define.
    R06,
    /// A Terminate whose word or headers are not as they should be, or not those of a segment that it blames.
    R08,
    /// A Read Response that nobody has asked for.
    R16,
    /// A Read Response that is not what was asked for.
    R18,
    /// A second Terminate.
    R23,
    /// A message after a Terminate.
    R25,
    /// Read Responses in another order than the Requests.
    R35,
    /// More requests under way than agreed.
    R37,
    /// A Read Request whose source or sink wraps.
    R42,
    /// RsvdULP of a message of RFC 7306 is not 0.
    X02,
    /// An Atomic Request of another size or with unused fields set.
    X08,
    /// An AOpCode that is not defined.
    X09,
    /// An Atomic Response of another size, without a request, or not the one that is due.
    X10,
    /// Immediate Data of another size than 8 octets.
    X13,
    /// Reads and atomics are answered in another order than asked.
    X14,
    /// A ULPDU too short for its DDP header.
    G1,
    /// A Reply of another revision than its Request.
    G11,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

/// A rule that is broken, and how.
pub(crate) type Fault = (Rule, String);

#[cfg(test)]
mod tests {
    use super::Rule;

    /// The id on the wire of JSON is that of the notes.
    #[test]
    fn ids_are_written_as_they_are_named() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.id());
        }
    }
}
