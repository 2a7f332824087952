//! In which order events and facts arrive. The truth does not depend on it.

use serde_json::Value;

use crate::days::seconds_after;
use crate::event::Event;
use crate::fact::Fact;
use crate::random::Random;
use crate::{Simulation, rulebook};

/// The order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were observed. Versions that were seen late come after later ones.
    InOrder,
    /// Any order, by this seed.
    Shuffled(u64),
}

/// When facts arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsArrive {
    /// Before all events.
    First,
    /// After all events.
    Last,
    /// Anywhere between them, in any order, by this seed.
    Mixed(u64),
}

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An event, for the topic of rows.
    Event(Event),
    /// A fact, for the topic of facts.
    Fact(Fact),
}

impl Message {
    /// The key on its topic.
    pub fn key(&self) -> String {
        match self {
            Self::Event(event) => event.key(),
            Self::Fact(fact) => fact.key(),
        }
    }

    /// The message as a JSON object.
    pub fn json(&self) -> Value {
        match self {
            Self::Event(event) => event.json(),
            Self::Fact(fact) => fact.json(),
        }
    }

    /// The name of its topic, unless that was set to another.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Event(_) => rulebook::TOPIC_OF_ROWS,
            Self::Fact(_) => rulebook::TOPIC_OF_FACTS,
        }
    }
}

/// The events in an order, with so many of a thousand once more. A duplicate is a copy, in the same or other words,
/// observed at the same time or later.
pub fn events_in(events: &[Event], order: Order, duplicates: u32) -> Vec<Event> {
    let mut random = Random::new(match order {
        Order::InOrder => 0,
        Order::Shuffled(seed) => seed,
    });
    let mut arriving = Vec::with_capacity(events.len());
    for event in events {
        arriving.push(event.clone());
        if random.in_thousand(duplicates) {
            let seconds = *random.pick(&[0, 1, 3_600, 200_000]);
            let observed_at = seconds_after(event.observed_at, seconds);
            arriving.push(Event {
                observed_at,
                wordy: random.in_thousand(500),
                ..event.clone()
            });
        }
    }
    match order {
        // Stable: what was observed at one instant stays in order of version.
        Order::InOrder => arriving.sort_by_key(|event| event.observed_at),
        Order::Shuffled(_) => random.shuffle(&mut arriving),
    }
    arriving
}

impl Simulation {
    /// The events in an order, with duplicates as the settings say.
    pub fn arriving_events(&self, order: Order) -> Vec<Event> {
        events_in(&self.events, order, self.settings.duplicates)
    }

    /// Everything that arrives: the events in an order, and the facts before, after or between them.
    pub fn arrival(&self, order: Order, facts: FactsArrive) -> Vec<Message> {
        let events = self.arriving_events(order).into_iter().map(Message::Event);
        let stated = self.facts.iter().cloned().map(Message::Fact);
        match facts {
            FactsArrive::First => stated.chain(events).collect(),
            FactsArrive::Last => events.chain(stated).collect(),
            FactsArrive::Mixed(seed) => between(events.collect(), stated.collect(), &mut Random::new(seed)),
        }
    }
}

/// Puts the facts between the events, which keep their order.
fn between(events: Vec<Message>, mut facts: Vec<Message>, random: &mut Random) -> Vec<Message> {
    random.shuffle(&mut facts);
    let mut all = Vec::with_capacity(events.len() + facts.len());
    let mut events = events.into_iter();
    while events.len() + facts.len() > 0 {
        if random.index(events.len() + facts.len()) < facts.len() {
            all.extend(facts.pop());
        } else {
            all.extend(events.next());
        }
    }
    all
}
