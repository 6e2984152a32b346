//! One connection: its two directions, and what they say to each other.

use super::conversation::{Beside, Conversation, Found, Side, who_says};
use super::counts::{LostTo, Segments};
use super::packet::{End, Segment, Vlans};
use super::stream::{News, Piece, Stream};

/// What one takes up that holds nothing, tables included.
const FLOW_BYTES: usize = 1 << 10;

/// Which connection: its ends in a fixed order, and where it goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    vlans: Vlans,
    ends: [End; 2],
}

impl Key {
    /// Of a segment, and which of the ends sent it.
    pub fn of(segment: &Segment<'_>) -> (Self, usize) {
        let Segment { vlans, from, to, .. } = *segment;
        if from <= to {
            (Self { vlans, ends: [from, to] }, 0)
        } else {
            (Self { vlans, ends: [to, from] }, 1)
        }
    }

    /// The end at one of these ports, if only one is.
    fn end_at(&self, ports: &[u16]) -> Option<usize> {
        match self.ends.map(|end| ports.contains(&end.port)) {
            [true, false] => Some(0),
            [false, true] => Some(1),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Flow {
    streams: [Stream; 2],
    /// The number of the SYN each end began with.
    begun: [Option<u32>; 2],
    /// Which end answers, once that is known.
    server: Option<usize>,
    conversation: Conversation,
}

/// What becomes of a connection with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Open,
    /// It is over.
    Closed,
}

impl Flow {
    /// One that this segment is the first of.
    pub fn new(
        session: u64,
        key: &Key,
        first: &Segment<'_>,
        ports: &[u16],
        body_max: usize,
    ) -> Self {
        let conversation = Conversation::new(session, first.syn, body_max);
        Self {
            streams: Default::default(),
            begun: [None; 2],
            // Who begins a connection is the client, whatever its port.
            server: if first.syn { None } else { key.end_at(ports) },
            conversation,
        }
    }

    /// Whether the segment begins another connection between the same ends.
    pub fn is_replaced_by(&self, from: usize, segment: &Segment<'_>) -> bool {
        let same = self.begun[from] == Some(segment.seq);
        segment.syn && segment.ack.is_none() && !same
    }

    /// Takes a segment that the end numbered `from` sent.
    pub fn take(
        &mut self,
        from: usize,
        segment: &Segment<'_>,
        at_us: u64,
        found: &mut Found<'_>,
    ) -> Fate {
        if segment.rst {
            return self.reset(from, segment, found);
        }
        let seq = self.begin(from, segment);
        if self.server.is_none() {
            self.server = self.who_serves(from, segment);
        }
        // What its sender has seen came before what it says.
        if let Some(ack) = segment.ack {
            self.streams[1 - from].begin(ack);
            self.tell(1 - from, Beside::default(), found, |stream, counts, tell| {
                stream.acknowledged(ack, counts, tell);
            });
        }
        let other = &self.streams[1 - from];
        let beside = Beside {
            acknowledged: segment.ack.and_then(|ack| other.position(ack)),
            seen: other.next(),
        };
        let Segment { payload: bytes, fin, missing, .. } = *segment;
        if !bytes.is_empty() || fin {
            let piece = Piece { seq, bytes, fin, missing, at_us };
            self.tell(from, beside, found, |stream, counts, tell| stream.take(piece, counts, tell));
        }
        let over = self.streams.iter().all(Stream::is_over);
        if over { Fate::Closed } else { Fate::Open }
    }

    /// The number of the segment's first byte.
    fn begin(&mut self, from: usize, segment: &Segment<'_>) -> u32 {
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        if segment.syn {
            self.begun[from].get_or_insert(segment.seq);
        }
        // Keep-alive probes have a byte from before, or none; the next one is more likely right.
        if segment.syn || !segment.payload.is_empty() {
            self.streams[from].begin(seq);
        }
        seq
    }

    fn who_serves(&self, from: usize, segment: &Segment<'_>) -> Option<usize> {
        let side = match (segment.syn, segment.ack) {
            (true, None) => Some(Side::Client),
            (true, Some(_)) => Some(Side::Server),
            (false, _) => who_says(segment.payload),
        };
        side.map(|side| if side == Side::Server { from } else { 1 - from })
    }

    fn reset(&mut self, from: usize, segment: &Segment<'_>, found: &mut Found<'_>) -> Fate {
        // One that is far from what its sender says was made up, or is of an older connection.
        let near = |(next, at): (u64, u64)| next.abs_diff(at) <= 1 << 20;
        let stream = &self.streams[from];
        if stream.next().zip(stream.position(segment.seq)).is_some_and(|both| !near(both)) {
            found.counts.segments.stray += 1;
            return Fate::Open;
        }
        self.conversation.end(Side::Server, false, found);
        Fate::Closed
    }

    /// Has a direction do something, and passes on what becomes known of it.
    fn tell(
        &mut self,
        of: usize,
        beside: Beside,
        found: &mut Found<'_>,
        act: impl FnOnce(&mut Stream, &mut Segments, &mut dyn FnMut(News<'_>)),
    ) {
        let Self { streams, server, conversation, .. } = self;
        // As long as nobody knows who serves, nothing can be made of it.
        let side = server.map(|at| if at == of { Side::Server } else { Side::Client });
        let mut counts = found.counts.segments;
        act(&mut streams[of], &mut counts, &mut |news| {
            if let Some(side) = side {
                conversation.hear(side, news, beside, found);
            }
        });
        found.counts.segments = counts;
    }

    /// It is followed no further.
    pub fn leave(&mut self, lost: LostTo, found: &mut Found<'_>) {
        self.conversation.leave(lost, found);
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        let streams: usize = self.streams.iter().map(Stream::holds).sum();
        FLOW_BYTES + streams + self.conversation.holds()
    }
}
