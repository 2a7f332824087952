//! What a stream sends next that has to go on for as long as a fault takes.

use std::ops::Range;

use sqlx::PgPool;

/// Goes through a list in parts: what is new up to a limit, then what was sent before again and again. The last of the list are
/// kept back.
#[derive(Clone, Debug)]
pub struct Pace {
    part: usize,
    kept_back: usize,
    new: usize,
    again: usize,
}

impl Pace {
    /// So many at once, and so many kept back.
    pub fn new(part: usize, kept_back: usize) -> Self {
        Self {
            part,
            kept_back,
            new: 0,
            again: 0,
        }
    }

    /// The next part of a list of this length: new ones below the limit, or earlier ones once more.
    pub fn next(&mut self, limit: usize, length: usize) -> Range<usize> {
        let limit = limit.min(length.saturating_sub(self.kept_back));
        if self.new < limit {
            let begin = self.new;
            self.new = limit.min(begin + self.part);
            return begin..self.new;
        }
        let begin = self.again;
        let end = self.new.min(begin + self.part);
        self.again = if end == self.new { 0 } else { end };
        begin..end
    }

    /// What was never sent, of a list of this length.
    pub fn rest(&self, length: usize) -> Range<usize> {
        self.new..length
    }
}

/// Records in the control totals; none when Postgres does not say, which may be what is away.
pub async fn recorded(pool: &PgPool) -> Option<usize> {
    let recorded: Option<i64> =
        sqlx::query_scalar("select coalesce(sum(read), 0)::bigint from redline.control_totals")
            .fetch_one(pool)
            .await
            .ok();
    usize::try_from(recorded?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ones_come_first_then_earlier_ones_again_and_the_last_only_as_the_rest() {
        let mut pace = Pace::new(4, 2);
        let parts: Vec<_> = [6, 6, 6, 6, 6, 100].map(|limit| pace.next(limit, 12)).into();
        assert_eq!(parts, [0..4, 4..6, 0..4, 4..6, 0..4, 6..10]);
        assert_eq!(pace.rest(12), 10..12);
    }
}
