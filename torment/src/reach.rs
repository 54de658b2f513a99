//! Requirements that no case is about, and why.

use std::io::Write;

const ALWAYS: &str = "looked at in every case: whatever comes back has to be proper";
const INSIDE: &str = "between the layers of one implementation, or towards its user";
const LOCAL: &str = "what the target does of its own accord, or may leave";
const ENDS: &str =
    "when an operation completes for the target's user, who is not seen from outside";
const ELSEWHERE: &str = "for another transport, another revision, or raw TCP segments";
const HOST: &str = "of the host, of its administrator or of the user's program";

/// Requirements and the reason why no case is about them.
const OUT_OF_REACH: [(&[&str], &str); 6] = [
    (
        &[
            "F01", "F08", "U01", "D11", "D14", "D17", "R01", "R11", "R36",
        ],
        ALWAYS,
    ),
    (
        &[
            "F02", "F05", "F06", "F07", "F21", "U03", "D01", "D02", "D03", "D04", "D05", "D27",
            "D32", "D39",
        ],
        INSIDE,
    ),
    (
        &[
            "F16", "F26", "F27", "F28", "F29", "U02", "U23", "E10", "E22", "D28", "R27", "R30",
            "R31", "S06", "S08",
        ],
        LOCAL,
    ),
    (&["R28", "R32", "R33", "R34"], ENDS),
    (&["F39", "F40", "E06", "E23", "D29", "X01"], ELSEWHERE),
    (
        &[
            "F20", "U24", "D41", "D42", "D43", "R44", "X05", "S09", "S10", "S11", "S12", "S13",
            "S14",
        ],
        HOST,
    ),
];

/// Writes the requirements that no case is about.
pub(crate) fn list(out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\nRequirements that no case is about:")?;
    for (ids, why) in OUT_OF_REACH {
        writeln!(out, "    {why}:")?;
        writeln!(out, "        {}", ids.join(" "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_requirement_has_a_case_or_a_reason() {
        let cases = crate::cases::all();
        let played: BTreeSet<&str> = cases.iter().flat_map(|case| case.ids).copied().collect();
        let mut reasons = BTreeSet::new();
        for id in OUT_OF_REACH.iter().flat_map(|(ids, _)| *ids) {
            assert!(reasons.insert(*id), "{id} twice");
            assert!(!played.contains(id), "{id} is played");
        }
        let last = [
            ('F', 40),
            ('U', 24),
            ('E', 24),
            ('D', 43),
            ('R', 44),
            ('X', 16),
            ('S', 14),
        ];
        for (letter, count) in last {
            for number in 1..=count {
                let id = format!("{letter}{number:02}");
                let known = played.contains(id.as_str()) || reasons.contains(id.as_str());
                assert!(known, "{id}");
            }
        }
    }
}
