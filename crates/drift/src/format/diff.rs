//! Which keys differ between two trees.

use super::canon::{View, view};
use super::key::{Key, Step};
use super::tree::{Kind, Order, Tree};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key in the newer tree; of what was removed, in the older one.
    pub key: Key,
    /// How it differs.
    pub difference: Difference,
    /// False where other lines of the file keep this one from having any
    /// effect, as before the change so after it.
    pub in_force: bool,
}

/// How a key differs, with the texts of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the newer tree has it.
    Added(Vec<u8>),
    /// Only the older tree has it.
    Removed(Vec<u8>),
    /// Both have it, and what it means differs.
    Changed {
        /// In the older tree.
        old: Vec<u8>,
        /// In the newer tree.
        new: Vec<u8>,
    },
}

/// The keys in which `new` differs from `old`; empty if they mean the same.
/// Both are to be of one format. Something that moved where order counts is
/// removed in one place and added in the other. A container that only one of
/// them has is one change.
pub fn diff(old: &Tree<'_>, new: &Tree<'_>) -> Vec<Change> {
    let (from, to) = (view(old), view(new));
    let mut differ = Differ { old, new, at: Vec::new(), changes: Vec::new() };
    differ.siblings(&from, &to, old.order.max(new.order));
    differ.changes
}

struct Differ<'t> {
    old: &'t Tree<'t>,
    new: &'t Tree<'t>,
    /// Steps to the container that is compared, in the newer tree.
    at: Vec<Step>,
    changes: Vec<Change>,
}

type Views<'v, 't> = Vec<&'v View<'t>>;

impl Differ<'_> {
    fn siblings(&mut self, old: &[View<'_>], new: &[View<'_>], order: Order) {
        if order == Order::Sequence {
            return self.sequence(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
        }
        let mut names: BTreeMap<&[u8], (Views<'_, '_>, Views<'_, '_>)> = BTreeMap::new();
        for node in old {
            names.entry(&node.node.label).or_default().0.push(node);
        }
        for node in new {
            names.entry(&node.node.label).or_default().1.push(node);
        }
        for (old, new) in names.values() {
            match order {
                Order::Free => self.set(old, new),
                _ => self.sequence(old, new),
            }
        }
    }

    fn set(&mut self, old: &[&View<'_>], new: &[&View<'_>]) {
        let mut places: HashMap<u64, VecDeque<usize>> = HashMap::new();
        for (place, node) in new.iter().enumerate() {
            places.entry(node.hash).or_default().push_back(place);
        }
        let mut taken = vec![false; new.len()];
        let mut rest = Vec::new();
        for node in old {
            match places.get_mut(&node.hash).and_then(VecDeque::pop_front) {
                Some(place) => {
                    taken[place] = true;
                    self.pair(node, new[place]);
                }
                None => rest.push(*node),
            }
        }
        let left: Vec<_> = new.iter().zip(taken).filter(|(_, t)| !t).map(|(n, _)| *n).collect();
        self.by_name(&rest, &left);
    }

    /// Aligns at what is equal and stands once on each side, in the longest
    /// run that is in order on both (as patience diff does).
    fn sequence(&mut self, old: &[&View<'_>], new: &[&View<'_>]) {
        let (mut i, mut j) = (0, 0);
        for (a, b) in anchors(old, new) {
            self.gap(&old[i..a], &new[j..b]);
            self.pair(old[a], new[b]);
            (i, j) = (a + 1, b + 1);
        }
        self.gap(&old[i..], &new[j..]);
    }

    fn gap(&mut self, old: &[&View<'_>], new: &[&View<'_>]) {
        let same = |(a, b): &(&&View<'_>, &&View<'_>)| a.hash == b.hash;
        let head = old.iter().zip(new).take_while(same).count();
        let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(same).count();
        let (old_end, new_end) = (old.len() - tail, new.len() - tail);
        let pairs = old[..head].iter().zip(&new[..head]);
        for (a, b) in pairs.chain(old[old_end..].iter().zip(&new[new_end..])) {
            self.pair(a, b);
        }
        self.by_name(&old[head..old_end], &new[head..new_end]);
    }

    /// What is left: the first of a name with the first of that name.
    fn by_name(&mut self, old: &[&View<'_>], new: &[&View<'_>]) {
        let mut names: HashMap<&[u8], VecDeque<usize>> = HashMap::new();
        for (place, node) in new.iter().enumerate() {
            names.entry(&node.node.label).or_default().push_back(place);
        }
        let mut taken = vec![false; new.len()];
        let mut last = None;
        for node in old {
            let place = names.get_mut(node.node.label.as_ref()).and_then(VecDeque::pop_front);
            // What crosses an earlier pair has moved.
            match place.filter(|&p| last.is_none_or(|last| p > last) || node.hash != new[p].hash) {
                Some(place) => {
                    taken[place] = true;
                    last = last.max(Some(place));
                    self.pair(node, new[place]);
                }
                None => {
                    let text = self.old.text(node.node.value).to_vec();
                    self.report(node, Difference::Removed(text), node.node.in_force);
                }
            }
        }
        for (node, _) in new.iter().zip(taken).filter(|(_, taken)| !taken) {
            let text = self.new.text(node.node.value).to_vec();
            self.report(node, Difference::Added(text), node.node.in_force);
        }
    }

    fn pair(&mut self, old: &View<'_>, new: &View<'_>) {
        let (a, b) = (old.node, new.node);
        if a.kind == b.kind && matches!(a.kind, Kind::Map | Kind::List) {
            self.at.push(new.step.clone());
            self.siblings(&old.children, &new.children, a.order.max(b.order));
            self.at.pop();
        } else if a.kind != b.kind || old.value != new.value || a.in_force != b.in_force {
            let difference = Difference::Changed {
                old: self.old.text(a.value).to_vec(),
                new: self.new.text(b.value).to_vec(),
            };
            self.report(new, difference, a.in_force || b.in_force);
        }
    }

    fn report(&mut self, node: &View<'_>, difference: Difference, in_force: bool) {
        let mut steps = self.at.clone();
        steps.push(node.step.clone());
        self.changes.push(Change { key: Key::from(steps), difference, in_force });
    }
}

/// Pairs of places, increasing on both sides.
fn anchors(old: &[&View<'_>], new: &[&View<'_>]) -> Vec<(usize, usize)> {
    let once = |views: &[&View<'_>]| {
        let mut places: HashMap<u64, Option<usize>> = HashMap::new();
        for (place, view) in views.iter().enumerate() {
            places.entry(view.hash).and_modify(|p| *p = None).or_insert(Some(place));
        }
        places
    };
    let (in_old, in_new) = (once(old), once(new));
    let place = |view: &View<'_>| {
        let a = (*in_old.get(&view.hash)?)?;
        Some((a, (*in_new.get(&view.hash)?)?))
    };
    longest_increasing(&old.iter().filter_map(|v| place(v)).collect::<Vec<_>>())
}

/// The longest part of `pairs` whose second halves increase, by patience
/// sorting; the first halves do already.
fn longest_increasing(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut tops: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        let pile = tops.partition_point(|&top| pairs[top].1 < pair.1);
        before.push(pile.checked_sub(1).map(|p| tops[p]));
        if pile == tops.len() {
            tops.push(index);
        } else {
            tops[pile] = index;
        }
    }
    let mut run = Vec::with_capacity(tops.len());
    let mut next = tops.last().copied();
    while let Some(index) = next {
        run.push(pairs[index]);
        next = before[index];
    }
    run.reverse();
    run
}
