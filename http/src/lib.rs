//! What everything that answers HTTP has in common: problem details, API keys, limits of rate, metrics and health, and
//! answers that many wait for.

mod asked;
mod caller;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod pools;
mod problem;

pub use asked::{Asked, Keep};
pub use caller::Caller;
pub use keys::Keys;
pub use limits::Limits;
pub use problem::{Kind, Problem};
