//! What a capture comes to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::inspector::Traffic;
use crate::record::{CrcState, Record, What};
use crate::rule::Rule;

/// How often a rule was broken, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// How often.
    pub count: u64,
    /// The first one: connection, sender, position and what was found.
    pub example: String,
}

/// Messages of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// How many.
    pub messages: u64,
    /// Octets in them.
    pub octets: u64,
}

/// FPDUs by the state of their CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrcCounts {
    /// In use, and right.
    pub checked: u64,
    /// Not in use, the field 0.
    pub absent: u64,
    /// Not in use, the field not 0.
    pub unused: u64,
    /// In use, and wrong.
    pub bad: u64,
}

/// What a capture comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Packets in the capture.
    pub packets: u64,
    /// Packets of which the capture does not hold all octets.
    pub packets_cut: u64,
    /// Packets of a link type that is not understood.
    pub packets_unknown: u64,
    /// The capture ends inside a packet.
    pub capture_cut: bool,
    /// TCP segments.
    pub tcp_segments: u64,
    /// TCP connections.
    pub tcp_connections: u64,
    /// Connections that are iWARP.
    pub connections: u64,
    /// Connections that were given up, there being too many at a time.
    pub given_up: u64,
    /// Startup frames.
    pub frames: u64,
    /// FPDUs.
    pub fpdus: u64,
    /// Octets of the FPDUs with everything in them.
    pub fpdu_octets: u64,
    /// Markers.
    pub markers: u64,
    /// The state of their CRC.
    pub crc: CrcCounts,
    /// FPDUs that were whole and valid while octets before them were missing: what an
    /// implementation could place out of order.
    pub placed_early: u64,
    /// FPDUs whose start is a guess.
    pub guessed: u64,
    /// Messages by operation.
    pub operations: BTreeMap<String, Operations>,
    /// Notes.
    pub notes: u64,
    /// Rules that were broken, by id.
    pub violations: BTreeMap<String, Violations>,
    /// Rules that were broken if the guess is right.
    pub guessed_violations: BTreeMap<String, Violations>,
}

impl Summary {
    /// Counts a record.
    pub fn count(&mut self, record: &Record) {
        match &record.what {
            What::Connection { .. } => self.connections += 1,
            What::Frame(_) => self.frames += 1,
            What::Fpdu(fpdu) => {
                self.fpdus += 1;
                self.fpdu_octets += u64::from(fpdu.wire_octets);
                self.markers += u64::from(fpdu.markers);
                self.placed_early += u64::from(fpdu.early);
                self.guessed += u64::from(record.guess);
                match fpdu.crc {
                    CrcState::Checked => self.crc.checked += 1,
                    CrcState::Absent => self.crc.absent += 1,
                    CrcState::Unused => self.crc.unused += 1,
                }
            }
            What::Message(message) => {
                let operations = self
                    .operations
                    .entry(message.operation.to_owned())
                    .or_default();
                operations.messages += 1;
                operations.octets += message.octets;
            }
            What::Violation { id, detail } => {
                self.crc.bad += u64::from(*id == Rule::F25);
                self.violation(record, *id, detail);
            }
            What::Note { .. } => self.notes += 1,
        }
    }

    fn violation(&mut self, record: &Record, id: Rule, detail: &str) {
        let table = if record.guess {
            &mut self.guessed_violations
        } else {
            &mut self.violations
        };
        let entry = table
            .entry(id.id().to_owned())
            .or_insert_with(|| Violations {
                count: 0,
                example: format!(
                    "connection {}, {} @{}: {detail}",
                    record.connection,
                    record.sender.word(),
                    record.position
                ),
            });
        entry.count += 1;
    }

    /// Adds what records do not tell.
    pub fn traffic(&mut self, traffic: Traffic, capture_cut: bool) {
        self.packets = traffic.packets;
        self.packets_cut = traffic.cut;
        self.packets_unknown = traffic.unknown_link;
        self.capture_cut = capture_cut;
        self.tcp_segments = traffic.segments;
        self.tcp_connections = traffic.tcp_connections;
        self.given_up = traffic.given_up;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} packets, {} TCP segments, {} TCP connections, {} of them iWARP",
            self.packets, self.tcp_segments, self.tcp_connections, self.connections
        )?;
        self.doubts(f)?;
        writeln!(
            f,
            "{} startup frames, {} FPDUs of {} octets, {} markers",
            self.frames, self.fpdus, self.fpdu_octets, self.markers
        )?;
        writeln!(
            f,
            "CRC: {} checked, {} absent, {} present but not in use, {} bad",
            self.crc.checked, self.crc.absent, self.crc.unused, self.crc.bad
        )?;
        writeln!(
            f,
            "FPDUs complete before a hole closed: {}",
            self.placed_early
        )?;
        for (name, operations) in &self.operations {
            let (messages, octets) = (operations.messages, operations.octets);
            writeln!(f, "{name}: {messages} messages, {octets} octets")?;
        }
        table(f, "violations", &self.violations)?;
        if !self.guessed_violations.is_empty() {
            table(
                f,
                "violations, if the guess is right",
                &self.guessed_violations,
            )?;
        }
        Ok(())
    }
}

impl Summary {
    /// What makes the rest less certain.
    fn doubts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.packets_cut > 0 {
            let cut = self.packets_cut;
            writeln!(f, "{cut} packets were not captured to their end")?;
        }
        if self.packets_unknown > 0 {
            let unknown = self.packets_unknown;
            writeln!(
                f,
                "{unknown} packets are of a link type that is not understood"
            )?;
        }
        if self.capture_cut {
            writeln!(f, "the capture ends inside a packet")?;
        }
        if self.given_up > 0 {
            let given_up = self.given_up;
            writeln!(
                f,
                "{given_up} connections were not followed: too many at a time"
            )?;
        }
        if self.guessed > 0 {
            writeln!(f, "{} FPDUs are guessed", self.guessed)?;
        }
        Ok(())
    }
}

fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    violations: &BTreeMap<String, Violations>,
) -> fmt::Result {
    if violations.is_empty() {
        return writeln!(f, "{title}: none");
    }
    writeln!(f, "{title}:")?;
    for (id, violations) in violations {
        let (count, example) = (violations.count, &violations.example);
        writeln!(f, "  {id:<4} {count:>6} times, first in {example}")?;
    }
    Ok(())
}
