//! Several items may speak of one place: what they say becomes one change.

use super::make::{Drifted, Maker};
use super::sides::key_of;
use super::{Aim, Change, Class, Confirmation, Expected, Place, Plan};
use crate::attributes::Kind;
use crate::config::{Attribute, Confirm};
use crate::discrepancy::KeyChange;
use crate::reading::{Content, Reading, Value};
use crate::rollback::activate::Action;

impl Maker<'_> {
    /// Adds what one item says of a place.
    pub(super) fn change(
        &mut self,
        drifted: &Drifted<'_>,
        place: Place,
        class: Class,
        from: Reading,
        to: Aim,
        keys: Vec<KeyChange>,
    ) {
        let Drifted { parameter, item, .. } = *drifted;
        if let Some(confirm) = &parameter.confirm {
            self.plan.agree(confirm);
        }
        let reading = afterwards(drifted, &to);
        let change = self.changes.entry(place.clone()).or_insert_with(|| Change {
            place,
            class,
            from,
            to: to.clone(),
            keys: Vec::new(),
            items: Vec::new(),
            checks: Vec::new(),
            actions: Vec::new(),
        });
        change.items.push(Expected { item: item.clone(), reading });
        for key in keys {
            // Two parameters may watch one key.
            if !change.keys.iter().any(|known| known.key == key.key) {
                change.keys.push(key);
            }
        }
        if !parameter.validate.is_empty() && !change.checks.contains(&parameter.validate) {
            change.checks.push(parameter.validate.clone());
        }
        let action = parameter.apply.as_ref().map(Action::configured);
        change.actions.extend(action.filter(|action| !change.actions.contains(action)));
        change.aim(to);
    }
}

/// What the item says when the change is made.
fn afterwards(drifted: &Drifted<'_>, to: &Aim) -> Reading {
    match to {
        Aim::Absent => Reading::Absent,
        _ if key_of(&drifted.parameter.source).is_some() => drifted.target.clone(),
        Aim::Present { content, attributes } => {
            // What a file said that gives way to a link or a directory is gone with it.
            let kind = attributes.get(&Attribute::Type).and_then(Kind::read);
            let stays = kind.is_none_or(|kind| kind == Kind::File);
            let now = drifted.current.value().and_then(|value| value.content.clone());
            let content = content.clone().map(Content::Bytes).or(now.filter(|_| stays));
            Reading::Present(Value { content, attributes: attributes.clone() })
        }
    }
}

impl Change {
    /// Aims at this besides. What several items say of one place is what the place says in the
    /// end.
    fn aim(&mut self, to: Aim) {
        if let (
            Aim::Present { content, attributes },
            Aim::Present { content: more, attributes: others },
        ) = (&mut self.to, to)
        {
            *content = more.or(content.take());
            attributes.extend(others);
        }
        let Aim::Present { content: Some(content), .. } = &self.to else { return };
        for expected in &mut self.items {
            if let Reading::Present(value) = &mut expected.reading
                && !value.attributes.is_empty()
            {
                value.content = Some(Content::Bytes(content.clone()));
            }
        }
    }
}

impl Plan {
    /// The shortest time anybody asks for, all probes, and a person if there is no probe.
    fn agree(&mut self, confirm: &Confirm) {
        let agreed = self.confirm.get_or_insert_with(|| Confirmation {
            timeout_ms: u64::MAX,
            probes: Vec::new(),
            by_person: false,
        });
        let timeout_ms = u64::try_from(confirm.timeout.as_millis()).unwrap_or(u64::MAX);
        agreed.timeout_ms = agreed.timeout_ms.min(timeout_ms);
        match &confirm.probe {
            Some(probe) if !agreed.probes.contains(probe) => agreed.probes.push(probe.clone()),
            Some(_) => {}
            None => agreed.by_person = true,
        }
    }
}
