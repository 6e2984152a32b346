//! How many connections there are: of all clients, and of each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Where connections stand until they are dropped.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    each: Option<Each>,
    /// How many there are.
    open: watch::Sender<usize>,
}

#[derive(Debug)]
struct Each {
    max: u32,
    of: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection's, before it is known whose it is and then.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    whose: Option<IpAddr>,
    _one_of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(max: usize, each_max: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            each: each_max.map(|max| Each { max, of: Mutex::default() }),
            open: watch::Sender::new(0),
        })
    }

    /// The next that is free.
    pub(crate) async fn free(self: &Arc<Self>) -> Place {
        // Nobody closes it.
        let one = Arc::clone(&self.all).acquire_owned().await.ok();
        self.open.send_modify(|open| *open += 1);
        Place { places: Arc::clone(self), whose: None, _one_of_all: one }
    }

    /// Until there is no connection.
    pub(crate) async fn all_left(&self) {
        // It is not closed while this is here.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Place {
    /// Whether this client may have it, too.
    pub(crate) fn is_of(&mut self, client: IpAddr) -> bool {
        let Some(each) = &self.places.each else { return true };
        let client = one(client);
        let mut of = each.of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of.entry(client).or_default();
        if *count >= each.max {
            return false;
        }
        *count += 1;
        self.whose = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(each), Some(client)) = (&self.places.each, self.whose) {
            let mut of = each.of.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = of.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    of.remove(&client);
                }
            }
        }
        self.places.open.send_modify(|open| *open -= 1);
    }
}

/// Whoever has an IPv6 address has the 2^64 beside it.
fn one(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_has_so_many() {
        let places = Places::new(10, Some(2));
        let mut held = Vec::new();
        for (client, may) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::ffff", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::2", true),
        ] {
            let mut place = places.free().await;
            assert_eq!(place.is_of(client.parse().unwrap()), may, "{client}");
            held.push(place);
        }
        held.remove(0);
        let mut place = places.free().await;
        assert!(place.is_of("192.0.2.1".parse().unwrap()), "one of its places is free");
        drop((held, place));
        places.all_left().await;
        let each = places.each.as_ref().unwrap();
        assert!(each.of.lock().unwrap().is_empty(), "whoever left is forgotten");
    }
}
