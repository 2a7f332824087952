//! The whole sheet: planted rows, calm rows and restless ones, and the facts around them.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::background;
use crate::days::{FIRST_WEEK_END, days_after};
use crate::event::{Cell, Event};
use crate::fact::Fact;
use crate::facts::FactMaker;
use crate::plant::{Scene, assignment};
use crate::random::Random;
use crate::rulebook::PRICE;
use crate::settings::SimulationSettings;
use crate::story::Story;
use crate::truth::Planted;

/// What was made.
pub(crate) struct Sheet {
    pub events: Vec<Event>,
    pub facts: Vec<Fact>,
    pub planted: Vec<Planted>,
}

/// Makes all of it from the seed. Each row has random numbers of its own, so that one more version of one row does not
/// change the others.
pub(crate) fn make(settings: &SimulationSettings) -> Sheet {
    let grace = settings.grace();
    let weeks = settings.weeks.max(1);
    let mut random = Random::new(settings.seed);
    let mut maker = FactMaker::new();
    let mut facts = maker.of_the_sheet(weeks, grace);
    let mut events = Vec::new();
    let mut planted = Vec::new();
    let new_story = |index: usize, own: &mut Random| {
        let week = own.below(u64::from(weeks)).cast_signed();
        let end = days_after(FIRST_WEEK_END, 7 * week);
        Story::new(index, end, settings.late_versions, own.clone())
    };
    let scenarios = assignment(settings);
    for (index, (name, _, make_finding)) in scenarios.iter().enumerate() {
        let mut own = Random::new(random.bits());
        let mut other = new_story(settings.rows + index, &mut own.clone());
        let story = new_story(index, &mut own);
        other.week_end = story.week_end;
        other.now.period_end = story.now.period_end;
        let mut scene = Scene::new(name, story, other, grace, &mut maker);
        make_finding(&mut scene);
        let (said, stated, found) = scene.end();
        events.extend(said);
        facts.extend(stated);
        planted.push(found);
    }
    let mut neighbour: BTreeMap<String, Cell> = BTreeMap::new();
    for index in scenarios.len()..settings.rows {
        let mut own = Random::new(random.bits());
        let mut story = new_story(index, &mut own);
        facts.extend(contracts(&mut story, &mut maker));
        if story.random.in_thousand(settings.restless) {
            if story.random.in_thousand(60) && !neighbour.is_empty() {
                background::share_natural_key(&mut story, &neighbour);
            }
            background::restless(&mut story, settings.versions);
            facts.extend(background::approvals(&mut story, &mut |prefix| maker.id(prefix)));
            neighbour.clone_from(&story.now.columns);
        } else {
            let most = i64::from(settings.versions);
            let edits = story.random.between(most - 2, most).max(0);
            story.calm(edits);
        }
        events.extend(story.events);
    }
    facts.sort_by(|a, b| (a.kind(), &a.id, a.version).cmp(&(b.kind(), &b.id, b.version)));
    Sheet {
        events,
        facts,
        planted,
    }
}

/// An agreed price for most rows. Some sink on the Saturday before the end.
fn contracts(story: &mut Story, maker: &mut FactMaker) -> Vec<Fact> {
    if !story.random.in_thousand(700) {
        return Vec::new();
    }
    let margin = story.random.between(0, 8) * 25;
    let agreed = story
        .amount(PRICE)
        .plus(Amount::cents(margin))
        .unwrap_or_default();
    if !story.random.in_thousand(120) {
        return vec![maker.contract(&story.now.columns, agreed, (None, None))];
    }
    let saturday = story.day(-1, 0);
    let lower = agreed.minus(Amount::cents(125)).unwrap_or(agreed);
    vec![
        maker.contract(&story.now.columns, agreed, (None, Some(saturday))),
        maker.contract(&story.now.columns, lower, (Some(saturday), None)),
    ]
}
