//! What a tap counted: everything that came, and by cause what did not become an exchange.

use serde::Serialize;

use super::packet::NotTaken;

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Packets that were seen. Those that were not are in [`Packets`].
    pub packets: u64,
    /// Their bytes, as they were on the wire.
    pub bytes: u64,
    /// Packets that brought nothing, by cause.
    pub not_taken: Packets,
    /// Segments, as to what was strange about them.
    pub segments: Segments,
    /// Connections.
    pub flows: Flows,
    /// Requests whose head was read. Each is an exchange, lost, or still under way.
    pub requests: u64,
    /// Requests that were captured, with their answers if they had one.
    pub exchanges: u64,
    /// Exchanges of which a body is not whole: it was too long, or bytes of it were not seen.
    pub cut: u64,
    /// Requests that were not captured.
    pub lost: Lost,
    /// Connections of which the rest was not read.
    pub given_up: GivenUp,
}

/// Packets of which no segment was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Packets {
    /// The kernel had no room for them: they were not seen.
    pub kernel_drops: u64,
    /// The kernel could not copy them to the capture interface: they were not seen.
    pub mirror_drops: u64,
    /// Parts of packets that were cut in pieces on the way.
    pub fragment: u64,
    /// They do not keep to their own lengths.
    pub malformed: u64,
    /// Too little of them was captured.
    pub cut: u64,
    /// They had urgent bytes.
    pub urgent: u64,
    /// Something else than IP.
    pub not_ip: u64,
    /// Something else than TCP.
    pub not_tcp: u64,
    /// Of ports that were not asked for.
    pub other_port: u64,
    /// Of connections that were not chosen.
    pub not_chosen: u64,
}

impl Packets {
    /// Counts one that was seen.
    pub fn count(&mut self, why: NotTaken) {
        let counter = match why {
            NotTaken::NotIp => &mut self.not_ip,
            NotTaken::NotTcp => &mut self.not_tcp,
            NotTaken::Fragment => &mut self.fragment,
            NotTaken::Malformed => &mut self.malformed,
            NotTaken::Cut => &mut self.cut,
            NotTaken::Urgent => &mut self.urgent,
        };
        *counter += 1;
    }
}

/// Segments and the bytes between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Segments {
    /// Holes in what a connection said.
    pub gaps: u64,
    /// The bytes that were in them.
    pub gap_bytes: u64,
    /// They said something else than those before them about the same bytes, which won.
    pub conflicting: u64,
    /// They were further ahead than anybody's window.
    pub stray: u64,
    /// They brought nothing new.
    pub repeated: u64,
    /// They came before their turn.
    pub out_of_order: u64,
}

/// Connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Flows {
    /// Those that were followed.
    pub seen: u64,
    /// Of these, those that had begun before.
    pub joined: u64,
    /// Those that are followed now.
    pub open: u64,
    /// Given up since there were too many, or they held too much.
    pub evicted: u64,
    /// Given up since nothing came any more.
    pub idle: u64,
}

macro_rules! causes {
    ($(#[$doc:meta])* $name:ident by $cause:ident { $($(#[$of:meta])* $variant:ident $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub struct $name {
            $($(#[$of])* pub $field: u64,)*
        }

        #[doc = concat!("What [`", stringify!($name), "`] tells apart.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $cause {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// Counts so many more.
            pub fn count(&mut self, cause: $cause, more: u64) {
                match cause {
                    $($cause::$variant => self.$field += more,)*
                }
            }

            /// All of them.
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)*
            }
        }
    };
}

causes! {
    /// Requests that were read and not captured.
    Lost by LostTo {
        /// Bytes of it or its answer were not seen.
        Gap gap,
        /// Its connection was given up for room.
        Evicted evicted,
        /// Its connection was given up since nothing came any more.
        Idle idle,
        /// Its connection, or the tap, ended before it or its answer did.
        Unfinished unfinished,
        /// The rest of its connection was not read: see [`GivenUp`].
        GivenUp given_up,
    }
}

causes! {
    /// Connections of which the rest was not read.
    GivenUp by Because {
        /// Two parties could read a message of it differently.
        Ambiguous ambiguous,
        /// It is TLS.
        Encrypted encrypted,
        /// It is HTTP/2 without TLS.
        Http2 http2,
        /// It became something else, such as a WebSocket.
        Upgraded upgraded,
        /// It is something else.
        NotHttp not_http,
        /// A head is longer than 64 KiB or has more than 128 headers.
        TooLong too_long,
        /// More than 128 requests of it waited for answers.
        TooMany too_many,
        /// It answered what nobody had asked.
        Unasked unasked,
    }
}
