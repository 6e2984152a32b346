//! Files that change come into force by themselves.

use std::sync::Arc;
use std::time::Duration;

use super::Tls;
use super::files::Stamps;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What one look at the files shows: pure, so that it is tested.
#[derive(Debug, Default)]
struct Changed {
    tried: Option<Stamps>,
    seen: Option<Stamps>,
}

impl Changed {
    /// Whether to read what is there now: it is not what was read last, has not failed already,
    /// and was the same at the last look, so that nobody is still writing.
    fn is_settled(&mut self, read: &Stamps, now: Stamps) -> bool {
        let is_new = now != *read && self.tried.as_ref() != Some(&now);
        let settled = is_new && self.seen.as_ref() == Some(&now);
        if settled {
            self.tried = Some(now.clone());
        }
        self.seen = Some(now);
        settled
    }
}

/// Looks at the files, for ever.
pub async fn keep_looking(tls: Arc<Tls>) {
    let mut changed = Changed::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let (files, mut state) = (Arc::clone(&tls), changed);
        let look = move || {
            let now = files.sources.stamps();
            let read = files.last().stamps.clone();
            if state.is_settled(&read, now) {
                // It was said already.
                let _ = files.reload();
            }
            state
        };
        // What panics is begun anew.
        changed = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_they_rest() {
        let stamps = |n: u64| vec![("a".into(), Some((1, n, 1, 1, 1)))];
        let read = stamps(0);
        let mut changed = Changed::default();
        for (now, reads) in [
            (0, false),
            (1, false),
            (2, false),
            (2, true),
            (2, false),
            (3, false),
            (0, false),
            (3, false),
            (3, true),
        ] {
            assert_eq!(changed.is_settled(&read, stamps(now)), reads, "{now}");
        }
    }
}
