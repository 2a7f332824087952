//! What everything that answers HTTP has in common: problem details, API keys, and answers that many wait for.

mod asked;
pub mod keys;
mod problem;

pub use asked::{Asked, Keep};
pub use keys::Keys;
pub use problem::{Kind, Problem};
