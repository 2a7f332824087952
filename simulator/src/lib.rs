//! A simulated billing sheet: events and facts with findings planted among ordinary work, and the truth about them.
//!
//! The truth is computed by an oracle that shares no code with what it judges. It is written from the contract's
//! sentences, looks at the whole history of every row at once, and does not care about order.
//!
//! ```
//! use redline_simulator::{Simulation, SimulationSettings};
//!
//! let simulation = Simulation::new(SimulationSettings { seed: 7, rows: 200, ..Default::default() });
//! assert!(simulation.truth.counts.contains_key("retroactive_change"));
//! ```

pub mod amount;
pub mod arrival;
mod background;
pub mod check;
pub mod days;
pub mod event;
pub mod fact;
mod facts;
mod files;
pub mod oracle;
mod plant;
pub mod random;
pub mod rulebook;
mod settings;
mod sheet;
mod story;
pub mod truth;

pub use arrival::{FactsArrive, Message, Order};
pub use check::{Report, compare};
pub use event::Event;
pub use fact::Fact;
pub use files::{FileError, Lines, read_lines};
pub use settings::{FindingRates, Grace, SimulationSettings};
pub use truth::{Change, Flag, Planted, Truth};

/// A simulated sheet and the truth about it.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// What was asked for.
    pub settings: SimulationSettings,
    /// The rules of the source, as Redline's rule file.
    pub rules_toml: String,
    /// All facts, in the order of their ids.
    pub facts: Vec<Fact>,
    /// All events, row by row. `arrival` says how they come.
    pub events: Vec<Event>,
    /// What has to be found.
    pub truth: Truth,
}

impl Simulation {
    /// Makes the sheet, and judges it.
    pub fn new(settings: SimulationSettings) -> Self {
        let sheet = sheet::make(&settings);
        let (changes, flags) = oracle::judge(settings.grace(), &sheet.events, &sheet.facts);
        let truth = Truth::new(settings.clone(), sheet.planted, changes, flags);
        let rules_toml = rulebook::rules_toml(settings.grace());
        Self {
            settings,
            rules_toml,
            facts: sheet.facts,
            events: sheet.events,
            truth,
        }
    }
}
