//! What the door says when it does not answer 202: problem details that tell what became of the lines.

pub(crate) use redline_http::{Kind, Problem};

use crate::window::Tally;

/// What a problem tells of a request's lines.
pub(crate) trait Told {
    /// With what became of the lines.
    fn with_tally(self, tally: Tally) -> Self;

    /// The same of a request that broke off, with the line to go on from.
    fn with_resume_line(self, tally: Tally, line: u64) -> Self;
}

impl Told for Box<Problem> {
    fn with_tally(self, tally: Tally) -> Self {
        let told = self
            .with("accepted", &tally.accepted)
            .with("refused", &tally.refused)
            .with("errors", &tally.errors);
        with_warnings(told, &tally)
    }

    fn with_resume_line(self, tally: Tally, line: u64) -> Self {
        let told = self
            .with("accepted", &tally.accepted)
            .with("refused", &tally.refused)
            .with("resume_line", &line)
            .with("errors", &tally.errors);
        with_warnings(told, &tally)
    }
}

fn with_warnings(problem: Box<Problem>, tally: &Tally) -> Box<Problem> {
    match tally.warnings.as_slice() {
        [] => problem,
        warnings => problem.with("warnings", &warnings),
    }
}
