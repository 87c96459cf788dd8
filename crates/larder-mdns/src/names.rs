//! DNS names: which name an instance has, and what is asked for by a name.
//!
//! go-micro's node `greeter-1` of service `go.greeter` is `greeter-1.go.greeter.micro.`: every dot of
//! the two names separates labels. `go.greeter.micro.` asks for all nodes of the service, and
//! `_services.micro.` for the services, each of which answers as `go.greeter._services.micro.`.
//!
//! Beside go-micro's domain there is another, `micro-larder.`, in which Larder keeps what go-micro must
//! not see: it knows no status, and calls whatever it finds.
//!
//! Pure.

/// The longest label, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// The longest name in bytes: its labels, each with its length, and the root.
const NAME_BYTES_MAX: usize = 255;

/// What stands before the domain where services are asked for in place of instances.
pub(crate) const SERVICES: &str = "_services";

/// The labels of a DNS name, in order.
pub(crate) type Labels = Vec<String>;

/// In which domain an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Where go-micro looks: instances that serve, and have an IP address and a port.
    Open,
    /// Where only Larder looks: all others.
    Aside,
}

impl Place {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Open, Self::Aside];
}

/// The two domains.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    open: Labels,
    aside: Labels,
}

/// What a name is about, without its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parted {
    /// Whose domain it was.
    pub(crate) place: Place,
    /// The labels before the domain: one or more.
    pub(crate) rest: Labels,
}

impl Domain {
    /// The domain `text`, such as `micro`; none if it is no name.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let open = labels(text.trim_end_matches('.'))?;
        let mut aside = open.clone();
        aside.last_mut()?.push_str("-larder");
        let fits = aside.iter().all(|label| label.len() <= LABEL_BYTES_MAX);
        (fits && wire_len(&aside) < NAME_BYTES_MAX / 2).then_some(Self { open, aside })
    }

    /// The name of an instance; none if it has none: a part between two dots is empty or longer than 63
    /// bytes, or the whole is longer than 255, or the service would be taken for the list of services.
    pub(crate) fn instance(&self, place: Place, service: &str, id: &str) -> Option<Labels> {
        if is_services(service) || labels(service)?.last().is_some_and(|last| is_services(last)) {
            return None;
        }
        let mut name = labels(id)?;
        name.extend(labels(service)?);
        self.below(place, name)
    }

    /// The name by which the instances of a service are asked for; none if it has none.
    pub(crate) fn service(&self, place: Place, service: &str) -> Option<Labels> {
        self.below(place, labels(service)?)
    }

    /// The name by which the services are asked for.
    pub(crate) fn services(&self, place: Place) -> Labels {
        let name = vec![SERVICES.to_owned()];
        name.into_iter().chain(self.of(place).iter().cloned()).collect()
    }

    /// The name by which a service answers when services are asked for; none if it has none.
    pub(crate) fn listed(&self, place: Place, service: &str) -> Option<Labels> {
        let mut name = labels(service)?;
        name.push(SERVICES.to_owned());
        self.below(place, name)
    }

    /// What a name is about; none for one of another domain, or of the domain itself.
    pub(crate) fn parted(&self, name: &[String]) -> Option<Parted> {
        Place::ALL.into_iter().find_map(|place| {
            let domain = self.of(place);
            let at = name.len().checked_sub(domain.len()).filter(|at| *at > 0)?;
            let is_below =
                name[at..].iter().zip(domain).all(|(one, other)| one.eq_ignore_ascii_case(other));
            is_below.then(|| Parted { place, rest: name[..at].to_vec() })
        })
    }

    fn of(&self, place: Place) -> &Labels {
        match place {
            Place::Open => &self.open,
            Place::Aside => &self.aside,
        }
    }

    fn below(&self, place: Place, mut name: Labels) -> Option<Labels> {
        name.extend_from_slice(self.of(place));
        (wire_len(&name) <= NAME_BYTES_MAX).then_some(name)
    }
}

impl Parted {
    /// Whether it is the list of services.
    pub(crate) fn is_services(&self) -> bool {
        matches!(&self.rest[..], [only] if is_services(only))
    }

    /// The service that answers by this name when services are asked for.
    pub(crate) fn listed(&self) -> Option<String> {
        let (last, service) = self.rest.split_last()?;
        (is_services(last) && !service.is_empty()).then(|| service.join("."))
    }

    /// The id of the instance that has this name, if it is one of `service`.
    pub(crate) fn id_in(&self, service: &str) -> Option<String> {
        let service = labels(service)?;
        let at = self.rest.len().checked_sub(service.len()).filter(|at| *at > 0)?;
        let id = &self.rest[..at];
        // A dot inside of a label would make another name of it.
        let is_whole = id.iter().all(|label| !label.contains('.'));
        (is_whole && self.rest[at..] == service[..]).then(|| id.join("."))
    }

    /// Everything before the domain as one text, in the case in which names are compared.
    pub(crate) fn folded(&self) -> String {
        self.rest.join(".").to_lowercase()
    }
}

/// The labels of a text; none if one of them has no form.
fn labels(text: &str) -> Option<Labels> {
    let labels: Labels = text.split('.').map(str::to_owned).collect();
    labels.iter().all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len())).then_some(labels)
}

fn wire_len(name: &[String]) -> usize {
    1 + name.iter().map(|label| 1 + label.len()).sum::<usize>()
}

fn is_services(label: &str) -> bool {
    label.eq_ignore_ascii_case(SERVICES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micro() -> Domain {
        Domain::new("micro").expect("it is a name")
    }

    #[test]
    fn names_are_those_of_go_micro() {
        let joined = |name: Option<Labels>| name.expect("it has a name").join(".");
        let micro = micro();
        let instance = micro.instance(Place::Open, "go.greeter", "greeter-1");
        assert_eq!(joined(instance), "greeter-1.go.greeter.micro");
        assert_eq!(joined(micro.service(Place::Aside, "web")), "web.micro-larder");
        assert_eq!(micro.services(Place::Open).join("."), "_services.micro");
        assert_eq!(joined(micro.listed(Place::Open, "go.web")), "go.web._services.micro");
    }

    #[test]
    fn what_has_no_dns_name_is_refused() {
        let micro = micro();
        let long = "x".repeat(64);
        let longer = vec!["x".repeat(60); 5].join(".");
        for odd in ["", ".", "a.", ".a", "a..b", &long, &longer] {
            assert_eq!(micro.instance(Place::Open, odd, "1"), None, "{odd}");
            assert_eq!(micro.instance(Place::Open, "web", odd), None, "{odd}");
        }
        for reserved in ["_services", "_SERVICES", "a._services"] {
            assert_eq!(micro.instance(Place::Open, reserved, "1"), None, "{reserved}");
        }
        for odd in ["", "a..b", &long] {
            assert!(Domain::new(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_name_of_another_domain_is_about_nothing() {
        let micro = micro();
        for other in ["web.local", "micro", "", "web.micro.local"] {
            let name: Labels = other.split('.').map(str::to_owned).collect();
            assert_eq!(micro.parted(&name), None, "{other}");
        }
        let odd = Parted { place: Place::Open, rest: vec!["a.b".into(), "web".into()] };
        assert_eq!(odd.id_in("web"), None, "its dot is no separator");
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(service in "[a-zé.]{1,9}", id in "\\PC{1,9}") {
            let micro = micro();
            for place in Place::ALL {
                let Some(name) = micro.instance(place, &service, &id) else { continue };
                let parted = micro.parted(&name).expect("it is of the domain");
                prop_assert_eq!(parted.place, place);
                prop_assert_eq!(parted.id_in(&service), Some(id.clone()));
                let listed = micro.listed(place, &service).expect("it is shorter");
                let listed = micro.parted(&listed).expect("it is of the domain");
                prop_assert_eq!(listed.listed(), Some(service.clone()));
            }
        }
    }
}
