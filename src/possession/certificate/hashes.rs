//! The hashes of certificates that come with each request of a connection, in one piece of memory that they share.

use std::any::Any;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::ClientCertificate;

/// Connections whose hashes are remembered. Of two with the same place the later one counts: the other one is hashed
/// again, which is slower and otherwise the same.
const PLACES: usize = 1_024;

/// Has a connection's certificate hashed once, and not for each request. The certificates of a connection that has
/// ended are not kept.
pub(super) struct Hashes(OnceLock<Box<[Place]>>);

/// As long as there is a `Weak`, nothing else is allocated at its address, so an address tells a connection.
type Place = Mutex<Option<(Weak<dyn Any + Send + Sync>, ClientCertificate)>>;

impl Hashes {
    pub(super) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The hash of what `connection` holds, which `hash` makes.
    pub(super) fn of<C: Any + Send + Sync>(
        &self,
        connection: &Arc<C>,
        hash: impl FnOnce() -> ClientCertificate,
    ) -> ClientCertificate {
        let places = self.0.get_or_init(|| (0..PLACES).map(|_| Place::default()).collect());
        let address = Arc::as_ptr(connection).addr() >> 4;
        let Some(place) = places.get((address ^ (address >> 10)) % PLACES) else { return hash() };
        // Somebody else is here: to hash is sooner done than to wait.
        let Ok(mut place) = place.try_lock() else { return hash() };
        if let Some((known, certificate)) = &*place
            && ptr::addr_eq(known.as_ptr(), Arc::as_ptr(connection))
        {
            return *certificate;
        }
        let certificate = hash();
        let known = Arc::downgrade(connection);
        *place = Some((known, certificate));
        certificate
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn certificate(of: u8) -> ClientCertificate {
        ClientCertificate::from_der(&[of])
    }

    #[test]
    fn a_connection_is_hashed_once_and_the_next_at_its_address_again() {
        let (hashes, hashed) = (Hashes::new(), Cell::new(0));
        let ask = |connection: &Arc<u8>| {
            let hash = || {
                hashed.set(hashed.get() + 1);
                certificate(**connection)
            };
            assert_eq!(hashes.of(connection, hash), certificate(**connection));
            hashed.get()
        };
        let connection = Arc::new(0);
        assert_eq!((ask(&connection), ask(&connection), ask(&Arc::clone(&connection))), (1, 1, 1));
        drop(connection);
        for other in 1..=255 {
            // An allocator likes to give out an address again, if it may.
            assert_eq!(ask(&Arc::new(other)), 1 + usize::from(other));
        }
    }

    #[test]
    fn there_is_no_more_to_remember_than_there_are_places() {
        let hashes = Hashes::new();
        let connections: Vec<_> = (0..3 * PLACES).map(Arc::new).collect();
        for connection in connections.iter().chain(&connections) {
            let own = ClientCertificate::from_der(&connection.to_be_bytes());
            assert_eq!(hashes.of(connection, || own), own);
        }
        let places = hashes.0.get().unwrap();
        assert_eq!(places.len(), PLACES);
        drop(connections);
        let ended = |place: &Place| place.lock().unwrap().as_ref().is_none_or(|(known, _)| known.strong_count() == 0);
        assert!(places.iter().all(ended));
    }
}
