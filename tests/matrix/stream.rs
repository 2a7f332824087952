//! The known stream of a seed, and the truth about it: a simulated sheet, whose oracle shares no code with what it judges.

use redline_schemas::{ContentHash, Event};
use redline_simulator::{FactsArrive, FindingRates, Order, Simulation, SimulationSettings};
use redline_tests::rows;

/// Rows of the sheet, some 700 events and facts.
const ROWS: usize = 120;

/// What is sent, and what has to come of it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) simulation: Simulation,
    pub(crate) messages: Vec<Sent>,
}

/// One event or fact.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) event: Event,
    /// As the door takes it.
    pub(crate) line: String,
}

impl Sent {
    /// What it is recognised by.
    pub(crate) fn hash(&self) -> [u8; 32] {
        ContentHash::of(self.event.canonical().as_bytes()).0
    }
}

/// When facts are sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Facts {
    /// Anywhere between the rows.
    #[default]
    Mixed,
    /// Before all rows. Who records facts records alone; rows alone are recorded by several workers at once.
    First,
}

/// The stream of a seed: always the same one, in the same order.
pub(crate) fn known(seed: u64, facts: Facts) -> Known {
    let simulation = Simulation::new(SimulationSettings {
        seed,
        rows: ROWS,
        findings: FindingRates::each(40),
        ..SimulationSettings::default()
    });
    let order = match seed % 2 {
        0 => Order::InOrder,
        _ => Order::Shuffled(seed),
    };
    let arrive = match facts {
        Facts::Mixed => FactsArrive::Mixed(seed),
        Facts::First => FactsArrive::First,
    };
    let arrival = simulation.arrival(order, arrive);
    let messages = arrival
        .iter()
        .map(|message| Sent {
            event: rows::message(message),
            line: message.json().to_string(),
        })
        .collect();
    Known { simulation, messages }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_is_always_the_same_and_holds_what_is_worth_losing() {
        for seed in 1..=3 {
            let (one, again) = (known(seed, Facts::Mixed), known(seed, Facts::Mixed));
            let hashes = |known: &Known| known.messages.iter().map(Sent::hash).collect::<Vec<_>>();
            assert_eq!(hashes(&one), hashes(&again));
            let flags = one.simulation.truth.flags.len();
            assert!(
                (600..2_000).contains(&one.messages.len()) && flags > 150,
                "seed {seed} has {} messages and {flags} flags",
                one.messages.len()
            );
        }
    }
}
