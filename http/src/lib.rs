//! What everything that answers HTTP has in common: problem details, API keys, metrics and health, and answers that many wait for.

mod asked;
pub mod keys;
pub mod metrics;
pub mod pools;
mod problem;

pub use asked::{Asked, Keep};
pub use keys::Keys;
pub use problem::{Kind, Problem};
