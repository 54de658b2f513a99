//! Records as lines for people.

use std::fmt;

use crate::control::ControlInfo;
use crate::record::{CrcState, FpduInfo, FrameInfo, Record, TargetInfo, What};

/// A record as a line, its time counted from `start`.
pub(crate) struct Line<'a> {
    pub(crate) record: &'a Record,
    pub(crate) start: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        let seconds = record.time.saturating_sub(self.start) as f64 / 1e9;
        write!(
            f,
            "{seconds:>11.6} {:>3} {:<9} {:>9} ",
            record.connection,
            record.sender.word(),
            record.position
        )?;
        if record.guess {
            f.write_str("(guess) ")?;
        }
        match &record.what {
            What::Connection { first, second } => write!(f, "connection {first} - {second}"),
            What::Frame(frame) => self::frame(f, frame),
            What::Fpdu(fpdu) => self::fpdu(f, fpdu),
            What::Message(message) => write!(
                f,
                "message {} {} octets in {} segments",
                message.operation, message.octets, message.segments
            ),
            What::Violation { id, detail } => write!(f, "VIOLATION {id} {detail}"),
            What::Note { text } => write!(f, "note {text}"),
        }
    }
}

fn frame(f: &mut fmt::Formatter<'_>, frame: &FrameInfo) -> fmt::Result {
    let FrameInfo {
        frame: name,
        source,
        revision,
        ..
    } = frame;
    write!(f, "frame {name} from {source} revision {revision}")?;
    let flags = [
        (frame.markers, "M"),
        (frame.crc, "C"),
        (frame.rejected, "R"),
        (frame.enhanced, "S"),
    ];
    for (_, name) in flags.iter().filter(|(set, _)| *set) {
        write!(f, " {name}")?;
    }
    if let Some(words) = frame.words {
        write!(f, " IRD {} ORD {}", words.ird, words.ord)?;
        let flags = [
            (words.peer_to_peer, "A"),
            (words.rtr_send, "B"),
            (words.rtr_write, "C"),
            (words.rtr_read, "D"),
        ];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            write!(f, " {name}")?;
        }
    }
    write!(f, " private data {}", frame.private_data_length)?;
    if !frame.private_data.is_empty() {
        write!(f, " {}", frame.private_data)?;
    }
    Ok(())
}

fn fpdu(f: &mut fmt::Formatter<'_>, fpdu: &FpduInfo) -> fmt::Result {
    write!(f, "fpdu {}", fpdu.ulpdu_length)?;
    if let Some(header) = fpdu.header {
        write!(f, " {}", header.operation)?;
        match header.target {
            TargetInfo::Tagged { stag, to } => write!(f, " stag {stag:#010x} to {to:#x}")?,
            TargetInfo::Untagged {
                ulp_word,
                qn,
                msn,
                mo,
            } => {
                write!(f, " qn {qn} msn {msn} mo {mo}")?;
                if ulp_word != 0 {
                    write!(f, " invalidates {ulp_word:#010x}")?;
                }
            }
        }
        if header.last {
            f.write_str(" last")?;
        }
    }
    write!(f, " payload {}", fpdu.payload)?;
    if let Some(control) = &fpdu.control {
        self::control(f, control)?;
    }
    if fpdu.markers > 0 {
        write!(f, " markers {}", fpdu.markers)?;
    }
    f.write_str(match fpdu.crc {
        CrcState::Checked => " crc ok",
        CrcState::Absent => "",
        CrcState::Unused => " crc not in use",
    })?;
    f.write_str(if fpdu.early { " early" } else { "" })
}

fn control(f: &mut fmt::Formatter<'_>, control: &ControlInfo) -> fmt::Result {
    match control {
        ControlInfo::ReadRequest {
            sink_stag,
            sink_to,
            size,
            source_stag,
            source_to,
        } => write!(
            f,
            ": {size} octets from {source_stag:#010x}/{source_to:#x} to {sink_stag:#010x}/{sink_to:#x}"
        ),
        ControlInfo::Terminate { code, meaning, .. } => write!(f, ": {code} {meaning}"),
        ControlInfo::AtomicRequest {
            id,
            remote_stag,
            remote_to,
            atomic,
            ..
        } => write!(f, ": {atomic} {id} at {remote_stag:#010x}/{remote_to:#x}"),
        ControlInfo::AtomicResponse { id, original } => write!(f, ": {id} was {original:#018x}"),
        ControlInfo::Immediate { data } => write!(f, ": {data}"),
    }
}
