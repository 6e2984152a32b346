//! The bodies are in `crates/fuzz-targets`; this hands them what coverage leads to.
//!
//! ```sh
//! cargo +nightly fuzz run tap -- -max_len=65536 -rss_limit_mb=2048
//! ```

use std::cell::RefCell;

thread_local! {
    static BODY: RefCell<Option<umbra_fuzz_targets::Body>> = const { RefCell::new(None) };
}

/// Tries the target `name`, the same one each time in a process.
pub fn attempt(name: &str, bytes: &[u8]) {
    BODY.with_borrow_mut(|body| {
        let open = || umbra_fuzz_targets::find(name).map(|target| (target.open)());
        // Whether it was accepted is all the same: coverage says more.
        match body.as_mut() {
            Some(body) => body(bytes),
            None => body.insert(open().expect("a target of this name"))(bytes),
        };
    });
}
