//! A peer: its id, the registry's record of it, and the ways in which a call may name it.

pub(crate) mod id;
mod memory;
mod record;
mod state;

use crate::error::{Error, ErrorKind};
pub use id::PeerId;
#[cfg(test)]
pub(crate) use memory::map_memory;
pub(crate) use memory::{NUMBERS_ARE_TEXTS, for_values, map_growth};
pub(crate) use record::CachedValue;
pub use record::Peer;
pub(crate) use sealed::PeerName;
pub(crate) use state::Negative;

/// Names a peer in a call: a text (`&str`, `String`, anything that is `AsRef<str>`), a [`PeerId`] or a [`Peer`].
///
/// The trait is sealed: it has no method to call, and no other crate can implement it.
///
/// ```
/// use a2a_blocking::{Client, ErrorKind, PeerId};
///
/// let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
/// let text = "3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C";
/// let id = PeerId::parse(text)?;
/// assert_eq!(client.discover_url(text)?, client.discover_url(id)?);
/// assert_eq!(client.discover_url(&text.to_owned())?, client.discover_url(&id)?);
/// assert_eq!(client.discover_url("ops-agent").unwrap_err().kind(), ErrorKind::InvalidPeerId);
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
pub trait PeerRef: sealed::Sealed {}

impl<T: sealed::Sealed> PeerRef for T {}

pub(crate) mod sealed {
    use super::{Error, ErrorKind, Peer, PeerId};

    /// The name of a peer as a call gives it.
    #[derive(Debug, Clone, Copy)]
    pub enum PeerName<'a> {
        /// A text that is not parsed yet.
        Text(&'a str),
        Id(PeerId),
        /// A record that came without a valid id.
        Unnamed,
    }

    impl PeerName<'_> {
        /// Returns the id, or `None` where the text is not a peer id.
        #[inline]
        pub(crate) fn id(self) -> Option<PeerId> {
            match self {
                PeerName::Text(text) => PeerId::from_text(text),
                PeerName::Id(id) => Some(id),
                PeerName::Unnamed => None,
            }
        }
    }

    #[allow(private_interfaces, reason = "no other crate can call it")]
    pub trait Sealed {
        /// Returns the name.
        ///
        /// A caller asks once for each call and uses that one answer for all it does: an `as_ref` of another crate need
        /// not return the same text twice.
        fn name(&self) -> PeerName<'_>;

        /// Returns the id, or `None` where the text is not a peer id.
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            self.name().id()
        }

        /// Returns the id, or an error that says what is wrong with the name.
        fn try_peer_id(&self) -> Result<PeerId, Error> {
            match self.name() {
                PeerName::Text(text) => PeerId::parse(text),
                PeerName::Id(id) => Ok(id),
                PeerName::Unnamed => {
                    let detail = "the peer's record has no valid `id`: name the peer by its id instead";
                    Err(Error::new(ErrorKind::InvalidPeerId, detail))
                }
            }
        }
    }

    #[allow(private_interfaces, reason = "no other crate can call it")]
    impl<T: AsRef<str>> Sealed for T {
        #[inline]
        fn name(&self) -> PeerName<'_> {
            PeerName::Text(self.as_ref())
        }
    }

    #[allow(private_interfaces, reason = "no other crate can call it")]
    impl Sealed for PeerId {
        #[inline]
        fn name(&self) -> PeerName<'_> {
            PeerName::Id(*self)
        }
    }

    #[allow(private_interfaces, reason = "no other crate can call it")]
    impl Sealed for &PeerId {
        #[inline]
        fn name(&self) -> PeerName<'_> {
            PeerName::Id(**self)
        }
    }

    #[allow(private_interfaces, reason = "no other crate can call it")]
    impl Sealed for &Peer {
        #[inline]
        fn name(&self) -> PeerName<'_> {
            Peer::peer_id(self).map_or(PeerName::Unnamed, PeerName::Id)
        }
    }
}
