//! How much of something there may be at once, in all and of one client: connections, queries that wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seats for what each client has: as many entries as there are seats taken at most.
#[derive(Debug)]
pub struct Crowd {
    limits: Limits,
    taken: Mutex<Taken>,
}

/// How many seats there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// For one client; zero for as many as it likes.
    pub of_each: usize,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    of_each: HashMap<IpAddr, usize>,
}

/// One seat, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSeat {
    /// All are taken.
    Full,
    /// This client has as many as it may.
    OfClient,
}

impl Crowd {
    /// Nobody has a seat yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// A seat for this client.
    pub fn seat(self: &Arc<Self>, client: IpAddr) -> Result<Seat, NoSeat> {
        let mut taken = self.taken();
        if taken.total >= self.limits.total {
            return Err(NoSeat::Full);
        }
        let has = taken.of_each.get(&client).copied().unwrap_or_default();
        if self.limits.of_each > 0 && has >= self.limits.of_each {
            return Err(NoSeat::OfClient);
        }
        taken.total += 1;
        taken.of_each.insert(client, has + 1);
        Ok(Seat { crowd: self.clone(), client })
    }

    /// How many seats are taken.
    pub fn len(&self) -> usize {
        self.taken().total
    }

    /// Whether no seat is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counts are changed in steps that cannot stop half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.crowd.taken();
        taken.total -= 1;
        if let Some(has) = taken.of_each.get_mut(&self.client) {
            *has -= 1;
            if *has == 0 {
                taken.of_each.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_client_has_as_many_seats_as_it_may_and_gets_them_back() {
        let crowd = Crowd::new(Limits { total: 100, of_each: 2 });
        let first = crowd.seat(client(1));
        let _second = crowd.seat(client(1)).expect("there are two");
        assert!(matches!(crowd.seat(client(1)), Err(NoSeat::OfClient)) && first.is_ok());
        assert!(crowd.seat(client(2)).is_ok());
        drop(first);
        assert!(crowd.seat(client(1)).is_ok());
        assert_eq!((crowd.len(), crowd.taken().of_each.len()), (1, 1));
    }

    #[test]
    fn all_clients_share_the_seats() {
        let crowd = Crowd::new(Limits { total: 3, of_each: 0 });
        let seats: Vec<_> = [1, 1, 2].map(|last| crowd.seat(client(last))).into_iter().collect();
        assert!(seats.iter().all(Result::is_ok));
        assert!(matches!(crowd.seat(client(3)), Err(NoSeat::Full)));
        drop(seats);
        assert!(crowd.is_empty());
    }
}
