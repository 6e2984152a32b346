//! Things in the order in which they were last touched, each found by its place in constant time.

/// See the module.
#[derive(Debug)]
pub struct Recent<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    older: Option<usize>,
    newer: Option<usize>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), oldest: None, newest: None }
    }
}

impl<T> Recent<T> {
    /// Adds one as the newest; its place.
    pub fn add(&mut self, value: T) -> usize {
        let slot = Slot { value: Some(value), older: None, newer: None };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.link(at);
        at
    }

    /// The one at this place, which becomes the newest.
    pub fn touch(&mut self, at: usize) -> Option<&mut T> {
        self.get(at)?;
        if self.newest != Some(at) {
            self.unlink(at);
            self.link(at);
        }
        self.slots[at].value.as_mut()
    }

    /// The one at this place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.slots.get(at)?.value.as_ref()
    }

    /// The place of the one that was not touched for longest.
    pub fn oldest(&self) -> Option<usize> {
        self.oldest
    }

    /// Takes the one at this place out.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        self.get(at)?;
        self.unlink(at);
        self.free.push(at);
        self.slots[at].value.take()
    }

    fn link(&mut self, at: usize) {
        self.slots[at].older = self.newest;
        self.slots[at].newer = None;
        match self.newest {
            Some(newest) => self.slots[newest].newer = Some(at),
            None => self.oldest = Some(at),
        }
        self.newest = Some(at);
    }

    fn unlink(&mut self, at: usize) {
        let Slot { older, newer, .. } = self.slots[at];
        match older {
            Some(older) => self.slots[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.slots[newer].older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list that is searched from its beginning.
        #[test]
        fn it_is_a_list_in_the_order_of_touching(
            acts in prop::collection::vec((0_u8..4, 0_usize..6), 0..80)
        ) {
            let (mut recent, mut list) = (Recent::default(), Vec::<(usize, u32)>::new());
            for (number, (act, which)) in (0_u32..).zip(acts) {
                let index = which.min(list.len().saturating_sub(1));
                match (act, list.is_empty()) {
                    (0 | 1, _) => {
                        let at = recent.add(number);
                        prop_assert!(list.iter().all(|(other, _)| *other != at));
                        list.push((at, number));
                    }
                    (2, false) => {
                        let moved = list.remove(index);
                        prop_assert_eq!(recent.touch(moved.0).map(|is| *is), Some(moved.1));
                        list.push(moved);
                    }
                    (_, false) => {
                        let gone = list.remove(index);
                        prop_assert_eq!(recent.remove(gone.0), Some(gone.1));
                        prop_assert_eq!(recent.remove(gone.0), None);
                    }
                    _ => {}
                }
                prop_assert_eq!(recent.oldest(), list.first().map(|first| first.0));
            }
            while let Some(oldest) = recent.oldest() {
                prop_assert_eq!(recent.remove(oldest), Some(list.remove(0).1));
            }
            prop_assert!(list.is_empty());
        }
    }
}
