//! The results, for people and for machines.

use std::fmt;
use std::io::Write;

use serde::Serialize;

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
    /// It does not offer what the case needs.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Deviates => "deviates",
            Self::NoAnswer => "no answer",
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
    pub ids: Vec<&'static str>,
    /// What is sent.
    pub sends: String,
    /// What must come back.
    pub due: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What came instead, or why it was skipped.
    pub came: String,
    /// Recommendations that the target did not follow.
    pub remarks: Vec<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// The results of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The target's address.
    pub target: String,
    /// A row for each case.
    pub rows: Vec<Row>,
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

    /// Whether no case deviates or is without an answer, and at least one was played.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let failed = self.count(Verdict::Deviates) + self.count(Verdict::NoAnswer);
        failed == 0 && self.count(Verdict::Pass) > 0
    }

    /// One line with the counts.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} cases: {} pass, {} deviate, {} without answer, {} skipped",
            self.rows.len(),
            self.count(Verdict::Pass),
            self.count(Verdict::Deviates),
            self.count(Verdict::NoAnswer),
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
    /// Writes the row of the table, and what went wrong below it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let ids = self.ids.join(" ");
        writeln!(out, "{:<9}  {:<36}  {ids}", self.verdict, self.name)?;
        match self.verdict {
            Verdict::Pass => {}
            Verdict::Skipped => writeln!(out, "{:11}because: {}", "", self.came)?,
            Verdict::Deviates | Verdict::NoAnswer => {
                writeln!(out, "{:11}sent:    {}", "", self.sends)?;
                writeln!(out, "{:11}due:     {}", "", self.due)?;
                writeln!(out, "{:11}came:    {}", "", self.came)?;
            }
        }
        for remark in &self.remarks {
            writeln!(out, "{:11}remark:  {remark}", "")?;
        }
        Ok(())
    }
}
