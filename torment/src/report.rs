//! The results, for people and for machines.

use std::fmt;
use std::io::Write;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The target did what it must.
    Pass,
    /// It did something else.
    Deviates,
    /// It did nothing, or could not be reached.
    NoAnswer,
    /// It was there before the case and not afterwards: it took no proper connection any more.
    Gone,
    /// It does not offer what the case needs.
    Skipped,
}

impl Verdict {
    /// All of them, the good ones first.
    pub const ALL: [Self; 5] = [
        Self::Pass,
        Self::Deviates,
        Self::NoAnswer,
        Self::Gone,
        Self::Skipped,
    ];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Deviates => "deviates",
            Self::NoAnswer => "no answer",
            Self::Gone => "gone",
            Self::Skipped => "skipped",
        })
    }
}

/// One case and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The stable name of the case.
    pub name: String,
    /// The requirements that it is about.
    pub requirements: Vec<&'static str>,
    /// What is sent.
    pub sends: String,
    /// What must come back: one of these.
    pub expected: Vec<String>,
    /// Which of them came, counted from 0, if the case passed.
    pub answer: Option<usize>,
    /// What came back, or why the case was skipped.
    pub seen: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Recommendations that the target did not follow, and what could not be looked at.
    pub remarks: Vec<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// `expected` and `seen` for the table.
    #[serde(skip)]
    pub(crate) brief: (String, String),
}

/// The results of a run.
///
/// As JSON it is an object with `target`, `clean` ([`is_clean`](Self::is_clean)), `counts` (a number
/// for each verdict) and `rows`.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The target's address; empty if none was given.
    pub target: String,
    /// A row for each case.
    pub rows: Vec<Row>,
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts: std::collections::BTreeMap<String, usize> = Verdict::ALL
            .into_iter()
            .map(|verdict| (verdict.to_string().replace(' ', "-"), self.count(verdict)))
            .collect();
        let mut object = serializer.serialize_struct("Outcome", 4)?;
        object.serialize_field("target", &self.target)?;
        object.serialize_field("clean", &self.is_clean())?;
        object.serialize_field("counts", &counts)?;
        object.serialize_field("rows", &self.rows)?;
        object.end()
    }
}

impl Outcome {
    /// How many cases have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    }

    /// Whether every case that was played has passed, and at least one was.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let passed = self.count(Verdict::Pass);
        passed > 0 && passed + self.count(Verdict::Skipped) == self.rows.len()
    }

    /// One line with the counts.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} cases: {} pass, {} deviate, {} without answer, {} gone afterwards, {} skipped",
            self.rows.len(),
            self.count(Verdict::Pass),
            self.count(Verdict::Deviates),
            self.count(Verdict::NoAnswer),
            self.count(Verdict::Gone),
            self.count(Verdict::Skipped),
        )
    }

    /// Writes the counts.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_summary(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "\n{}", self.summary())
    }
}

impl Row {
    /// Writes the head of the table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_head(out: &mut dyn Write) -> std::io::Result<()> {
        let [case, ids, expected] = ["case", "requirement", "expected"];
        writeln!(
            out,
            "{:<9}  {case:<36}  {ids:<15}  {expected:<23}  seen",
            "verdict"
        )
    }

    /// Writes the row of the table, and what went wrong below it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let ids = self.requirements.join(" ");
        let (expected, seen) = &self.brief;
        let line = format!(
            "{:<9}  {:<36}  {ids:<15}  {expected:<23}  {seen}",
            self.verdict, self.name
        );
        writeln!(out, "{}", line.trim_end())?;
        match self.verdict {
            Verdict::Pass => {}
            Verdict::Skipped => writeln!(out, "{:11}because:  {}", "", self.seen)?,
            Verdict::Deviates | Verdict::NoAnswer | Verdict::Gone => {
                writeln!(out, "{:11}sent:     {}", "", self.sends)?;
                writeln!(out, "{:11}expected: {}", "", self.expected.join(" or "))?;
                writeln!(out, "{:11}seen:     {}", "", self.seen)?;
            }
        }
        for remark in &self.remarks {
            writeln!(out, "{:11}remark:   {remark}", "")?;
        }
        Ok(())
    }
}
