//! The checker: reads nothing but topics and tables, and finds out whether everything was counted once, kept once
//! and published.
//!
//! Call it when the system is quiet. Each part panics with what does not agree.

mod dump;
mod flagged;
mod quarantine;
mod totals;

pub use dump::{changes, standing_flags};
pub use flagged::published_flags;
pub use totals::Totals;

use crate::installation::Installation;

/// Checks everything that holds for any history, and answers the totals over all partitions.
pub async fn check(installation: &Installation) -> Totals {
    let totals = totals::check(installation).await;
    flagged::check(installation).await;
    quarantine::check(installation).await;
    totals
}

/// As [`check`], but without looking into the topics of flags and quarantined records: for installations without
/// a relay.
pub async fn check_recorded(installation: &Installation) -> Totals {
    totals::check(installation).await
}
