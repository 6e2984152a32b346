//! What all sources of one place share while they are read.

use super::content::Reader;
use super::packages::status::Status;
use super::place::Place;
use crate::reading::Reading;

/// Contents of trees kept at once; of what is beyond only digests are.
pub const KEPT_BYTES_MAX: usize = 64 << 20;

/// A place, and memory that serves one reading after the other.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) place: Place,
    pub(super) reader: Reader,
    pub(super) status: Status,
    kept: usize,
}

impl Context {
    pub(super) fn new(place: Place) -> Self {
        Self { place, reader: Reader::new(), status: Status::default(), kept: 0 }
    }

    /// Another reading of everything begins.
    pub(super) fn begin(&mut self) {
        self.kept = 0;
    }

    /// Whether there is room for another content.
    pub(super) fn may_keep(&self) -> bool {
        self.kept < KEPT_BYTES_MAX
    }

    pub(super) fn kept(&mut self, reading: &Reading) {
        self.kept += reading.bytes().map_or(0, <[u8]>::len);
    }
}
