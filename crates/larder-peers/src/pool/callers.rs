//! Where requests of peers come from: their addresses, looked up where they have names.
//!
//! Pure.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::members::Address;

/// The addresses of a ring's other members.
#[derive(Debug, Default)]
pub(super) struct Callers {
    written: HashSet<IpAddr>,
    /// By host and port, what was found last.
    named: BTreeMap<String, HashSet<IpAddr>>,
    all: Arc<HashSet<IpAddr>>,
}

impl Callers {
    /// Those of members at these addresses. Who was there before is still known by what was found then.
    pub(super) fn of<'a>(addresses: impl Iterator<Item = &'a Address>, before: &Self) -> Self {
        let mut callers = Self::default();
        for address in addresses {
            if let Some(ip) = address.ip() {
                callers.written.insert(ip.to_canonical());
                continue;
            }
            let name = address.authority();
            let known = before.named.get(name).cloned().unwrap_or_default();
            callers.named.insert(name.to_owned(), known);
        }
        callers.add_up();
        callers
    }

    /// What must be looked up.
    pub(super) fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    /// A name was found to have these addresses; others that it had are not its own any more.
    pub(super) fn found(&mut self, name: &str, ips: impl Iterator<Item = IpAddr>) {
        if let Some(known) = self.named.get_mut(name) {
            *known = ips.map(|ip| ip.to_canonical()).collect();
            self.add_up();
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<HashSet<IpAddr>> {
        Arc::clone(&self.all)
    }

    fn add_up(&mut self) {
        let named = self.named.values().flatten();
        self.all = Arc::new(self.written.iter().chain(named).copied().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text).unwrap()).collect()
    }

    fn all(callers: &Callers) -> Vec<String> {
        let mut all: Vec<_> = callers.all().iter().map(ToString::to_string).collect();
        all.sort();
        all
    }

    #[test]
    fn who_stays_is_known_by_what_its_name_had_and_who_leaves_is_not() {
        let first = addresses(&["http://[::ffff:10.0.0.2]:80", "http://b:81", "c:82"]);
        let mut callers = Callers::of(first.iter(), &Callers::default());
        assert_eq!(
            (all(&callers), callers.names()),
            (vec!["10.0.0.2".to_owned()], vec!["b:81".to_owned(), "c:82".to_owned()])
        );
        callers.found("b:81", ["10.0.0.3".parse().unwrap()].into_iter());
        callers.found("c:82", ["10.0.0.4".parse().unwrap()].into_iter());
        callers.found("d:83", ["10.0.0.5".parse().unwrap()].into_iter());
        assert_eq!(all(&callers), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        let second = addresses(&["http://b:81", "http://10.0.0.6:80"]);
        let mut callers = Callers::of(second.iter(), &callers);
        assert_eq!(all(&callers), ["10.0.0.3", "10.0.0.6"]);
        callers.found("b:81", ["10.0.0.7".parse().unwrap()].into_iter());
        assert_eq!(all(&callers), ["10.0.0.6", "10.0.0.7"]);
    }
}
