//! Whether the primary is as the plan says: by its places, by its readings, by its probes.

use std::time::Duration;

use super::look::look;
use super::machine::Event;
use super::probe::probe;
use super::run::{Reader, Run};
use super::step::{Act, Step};
use crate::attributes::Kind;
use crate::reading::{Item, Reading, Value};

impl Run<'_> {
    /// Reads again what was changed, and asks the probes.
    pub(super) fn verify(&mut self, reader: &mut Reader<'_>) -> Event {
        if let Some(why) = self.misplaced(|step| step.to.as_ref()) {
            return Event::Failed(why);
        }
        let expected: Vec<_> = self.plan.changes.iter().flat_map(|change| &change.items).collect();
        let items: Vec<Item> = expected.iter().map(|expected| expected.item.clone()).collect();
        let readings = reader(&items);
        for expected in expected {
            let now = readings.get(&expected.item).unwrap_or(&Reading::Absent);
            if !says(now, &expected.reading) {
                let item = &expected.item;
                let part = item.part.as_ref().map(|part| part.0.as_slice());
                let part = umbra_state::escape::escape(part.unwrap_or_default()).to_string();
                let name = &item.parameter;
                return Event::Failed(format!("{name} {part} does not say what it should"));
            }
        }
        let confirmation = self.confirmation();
        let timeout = Duration::from_millis(self.options.probe_timeout_ms);
        for address in &confirmation.probes {
            if let Err(why) = probe(address, &self.options.host, timeout) {
                return Event::Failed(why);
            }
        }
        if confirmation.by_person { Event::NeedsPerson } else { Event::Done }
    }

    /// After the way back: whether something that was told of it wrote the new version again.
    pub(super) fn is_as_before(&self) -> Event {
        match self.misplaced(|step| step.from.as_ref()) {
            Some(why) => Event::Failed(why),
            None => Event::Done,
        }
    }

    /// The first place that does not hold what it should.
    fn misplaced<'s>(&'s self, should: impl Fn(&'s Step) -> Option<&'s Value>) -> Option<String> {
        self.steps.iter().filter(|step| step.act != Act::Set).find_map(|step| {
            let seen = match self.root.spot(step.path()) {
                Ok(spot) => look(&spot).ok()?.map(|seen| seen.value),
                Err(_) => None,
            };
            let right = match (&seen, should(step)) {
                (None, None) => true,
                (Some(seen), Some(should)) => holds(seen, should),
                _ => false,
            };
            let path = super::error::shown(step.path());
            (!right).then(|| format!("/{path} was changed again at once"))
        })
    }
}

/// Whether a file has the content, if that is known, and the attributes.
fn holds(seen: &Value, should: &Value) -> bool {
    let contents = match (&seen.content, &should.content) {
        (Some(seen), Some(should)) => seen.same(should),
        _ => true,
    };
    let is_link = seen.kind() == Some(Kind::Link);
    contents
        && should.attributes.iter().all(|(attribute, blob)| {
            use crate::config::Attribute::{Mode, Xattr};
            // A label may have been given to what had none.
            *attribute == Xattr
                || is_link && *attribute == Mode
                || seen.attributes.get(attribute) == Some(blob)
        })
}

/// Whether a reading says what is expected; attributes that are not listed do not matter.
fn says(now: &Reading, expected: &Reading) -> bool {
    match (now, expected) {
        (Reading::Present(now), Reading::Present(expected)) => {
            let contents = match (&now.content, &expected.content) {
                (Some(now), Some(expected)) => now.same(expected),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            contents
                && expected.attributes.iter().all(|(attribute, blob)| {
                    let now = now.attributes.get(attribute);
                    now == Some(blob) || blob.0.is_empty() && now.is_none()
                })
        }
        _ => now == expected,
    }
}
