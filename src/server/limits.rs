//! The limits on a server's clients, and what happens to clients beyond them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The builder's limits. `None` stands for no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) per_address: Option<usize>,
    pub(super) handshakes: Option<usize>,
    pub(super) handshakes_per_address: Option<usize>,
}

/// The slots for clients and their handshakes. An address is stored only while it has a connection
/// or a handshake, so there are at most as many addresses as connections and handshakes.
#[derive(Debug)]
pub(super) struct Slots {
    connections: Option<Arc<Semaphore>>,
    handshakes: Option<Arc<Semaphore>>,
    of_address: Addresses,
    handshakes_of_address: Addresses,
}

/// A slot for a connection and a slot for a handshake, reserved for the next client.
#[derive(Debug)]
pub(super) struct Reservation {
    connection: Option<OwnedSemaphorePermit>,
    handshake: Option<OwnedSemaphorePermit>,
}

/// A client's slot among the connections. Dropping this value frees the slot.
#[derive(Debug)]
pub(super) struct Permit {
    _connection: Option<OwnedSemaphorePermit>,
    _address: Option<AddressPermit>,
}

/// A client's slot among the handshakes. Dropping this value frees the slot.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    _handshake: Option<OwnedSemaphorePermit>,
    _address: Option<AddressPermit>,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            connections: limits.connections.map(semaphore),
            handshakes: limits.handshakes.map(semaphore),
            of_address: Addresses::new(limits.per_address),
            handshakes_of_address: Addresses::new(limits.handshakes_per_address),
        }
    }

    /// Waits until there are free slots, and reserves them. Clients that arrive during the wait
    /// stay in the kernel's accept queue.
    ///
    /// This method is cancel safe, because dropping its future frees the slots.
    pub(super) async fn reserve(&self) -> Reservation {
        async fn permit(of: &Option<Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
            // An error would mean that the semaphore is closed, and it never is.
            of.clone()?.acquire_owned().await.ok()
        }
        Reservation {
            connection: permit(&self.connections).await,
            handshake: permit(&self.handshakes).await,
        }
    }

    /// Gives the reserved slots to a client from this address. If the address has reached its
    /// limit, gives no slots and returns the reservation.
    pub(super) fn take(
        &self,
        reservation: Reservation,
        address: Option<IpAddr>,
    ) -> Result<(Permit, HandshakePermit), Reservation> {
        let Ok(of_address) = self.of_address.take(address) else { return Err(reservation) };
        let Ok(handshake) = self.handshakes_of_address.take(address) else {
            return Err(reservation);
        };
        let permit = Permit { _connection: reservation.connection, _address: of_address };
        Ok((permit, HandshakePermit { _handshake: reservation.handshake, _address: handshake }))
    }
}

/// The number of connections of each address, or the number of handshakes of each address.
#[derive(Debug)]
struct Addresses {
    limit: Option<usize>,
    /// The map needs a hash with a secret, such as the standard library's. Without a secret, the
    /// owner of an IPv6 /32, who has 2^32 networks, could choose networks whose hashes collide.
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The address has reached its limit.
#[derive(Debug)]
struct Full;

impl Addresses {
    fn new(limit: Option<usize>) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Counts one more connection or handshake for the address. Returns `None` if there is no limit
    /// or no address.
    fn take(&self, address: Option<IpAddr>) -> Result<Option<AddressPermit>, Full> {
        let (Some(limit), Some(address)) = (self.limit, address) else { return Ok(None) };
        let network = network(address);
        let mut counts = lock(&self.counts);
        let count = counts.entry(network).or_default();
        if *count >= limit {
            // If the limit is 0, this call has just made the entry, so it removes the entry again.
            if *count == 0 {
                counts.remove(&network);
            }
            return Err(Full);
        }
        *count += 1;
        Ok(Some(AddressPermit { network, counts: self.counts.clone() }))
    }
}

#[derive(Debug)]
struct AddressPermit {
    network: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the network whose count includes this address: a /64 of IPv6, or a single IPv4 address.
/// An IPv6 subscriber gets at least a /64 (RFC 6177), and may connect from any address in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn ipv6_is_counted_by_64_and_ipv4_by_address() {
        assert_eq!(network(ip("2001:db8:1:2:3::4")), ip("2001:db8:1:2::"));
        assert_ne!(network(ip("2001:db8:1:2::")), network(ip("2001:db8:1:3::")));
        assert_eq!(network(ip("192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[tokio::test]
    async fn an_address_without_connections_is_forgotten() {
        let slots = Slots::new(Limits { per_address: Some(1), ..Limits::default() });
        let one = slots.take(slots.reserve().await, Some(ip("2001:db8::1"))).unwrap();
        slots.take(slots.reserve().await, Some(ip("2001:db8::2"))).unwrap_err();
        slots.take(slots.reserve().await, Some(ip("192.0.2.1"))).unwrap();
        assert_eq!(lock(&slots.of_address.counts).len(), 1);
        drop(one);
        assert_eq!(lock(&slots.of_address.counts).len(), 0);
        let closed = Slots::new(Limits { per_address: Some(0), ..Limits::default() });
        closed.take(closed.reserve().await, Some(ip("192.0.2.1"))).unwrap_err();
        assert_eq!(lock(&closed.of_address.counts).len(), 0);
    }
}
