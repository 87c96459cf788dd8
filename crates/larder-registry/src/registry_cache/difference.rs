//! What happened between two states of a service.
//!
//! Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::catalog::Service;
use crate::event::Event;
use crate::model::Instance;

/// The events that make `after` of `before`, all of them as of `after`'s revision: first what is gone.
pub(super) fn difference(before: &Service, after: &Service, revision: u64) -> Vec<Event> {
    let (mut gone, mut there) = (Vec::new(), Vec::new());
    let mut old = before.instances().peekable();
    let mut new = after.instances().peekable();
    // Both are in the order of their ids.
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.id.cmp(&new.id),
        };
        match order {
            Ordering::Less => gone.extend(old.next().cloned()),
            Ordering::Greater => there.extend(new.next().cloned()),
            Ordering::Equal => {
                let changed = old.next().zip(new.next()).filter(|(old, new)| is_other(old, new));
                there.extend(changed.map(|(_, new)| new.clone()));
            }
        }
    }
    let gone = gone.into_iter().map(|instance| Event::Delete { revision, instance });
    let there = there.into_iter().map(|instance| Event::Apply { revision, instance });
    gone.chain(there).collect()
}

fn is_other(old: &Arc<Instance>, new: &Arc<Instance>) -> bool {
    // What was not touched is shared.
    !Arc::ptr_eq(old, new) && old != new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Name;

    fn service(instances: &[(&str, &str)]) -> Service {
        let instances = instances.iter().map(|(id, version)| {
            let mut instance = Instance::new("orders", id);
            (*version).clone_into(&mut instance.version);
            Arc::new(instance)
        });
        Service::new(Name::new("orders"), 1, instances)
    }

    fn told(before: &Service, after: &Service) -> Vec<String> {
        let told = difference(before, after, 7).into_iter();
        told.map(|event| match event {
            Event::Apply { revision: 7, instance } => {
                format!("+{}{}", instance.id, instance.version)
            }
            Event::Delete { revision: 7, instance } => format!("-{}", instance.id),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn what_is_gone_comes_first_then_what_is_new_or_changed() {
        let before = service(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let after = service(&[("b", "1"), ("c", "2"), ("e", "1")]);
        assert_eq!(told(&before, &after), ["-a", "-d", "+c2", "+e1"]);
        assert!(told(&after, &after).is_empty());
    }

    #[test]
    fn a_service_comes_and_goes_as_its_instances_do() {
        let (none, service) = (service(&[]), service(&[("a", "1"), ("b", "1")]));
        assert_eq!(told(&none, &service), ["+a1", "+b1"]);
        assert_eq!(told(&service, &none), ["-a", "-b"]);
    }
}
