//! Which key an instance is kept under.
//!
//! go-micro keeps a node at `<prefix><service>/<node>`, with every `/` of the two names turned into a
//! `-`: so that the key does not say what the names were, and the value must be asked. Beside that
//! place there is another, `<prefix without its slash>.larder/`, where Larder keeps the instances that
//! do not serve. go-micro, which knows no status and calls whatever it finds, must not see them; moved
//! in one transaction, they leave its clients' caches at once.
//!
//! `.` is the character before `/`: the two places are one range, which one watch follows.

/// The longest name of a service or id of an instance, in bytes. Longer ones are refused on writing,
/// and not found on reading: it is what bounds a key.
pub(crate) const MAX_NAME_LEN: usize = 1_024;

/// Where an instance is kept, and so who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where go-micro looks: instances that serve.
    Open,
    /// Where only Larder looks: instances that do not.
    Aside,
}

impl Place {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Open, Self::Aside];
}

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    open: String,
    aside: String,
}

/// What a key says: a service's and an instance's name as keys spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// Where it is kept.
    pub(crate) place: Place,
    /// The service, with `-` for `/`.
    pub(crate) service: &'a str,
    /// The instance, with `-` for `/`.
    pub(crate) node: &'a str,
}

/// A range of keys: from `start` up to, and without, `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first key.
    pub(crate) start: Vec<u8>,
    /// The first key after it.
    pub(crate) end: Vec<u8>,
}

impl Keys {
    /// The keys below `prefix`, which ends in `/` or is given one.
    pub(crate) fn new(prefix: &str) -> Self {
        let stem = prefix.trim_end_matches('/');
        Self { open: format!("{stem}/"), aside: format!("{stem}.larder/") }
    }

    fn prefix(&self, place: Place) -> &str {
        match place {
            Place::Open => &self.open,
            Place::Aside => &self.aside,
        }
    }

    /// The key of an instance; none if a name has no form there: an empty one, `.` and `..` (which
    /// go-micro would take for a folder), one that is too long.
    pub(crate) fn of(&self, place: Place, service: &str, id: &str) -> Option<String> {
        let (service, node) = (part(service)?, part(id)?);
        Some(self.join(place, &service, &node))
    }

    /// The key of what keys spell `service` and `node`.
    pub(crate) fn join(&self, place: Place, service: &str, node: &str) -> String {
        format!("{}{service}/{node}", self.prefix(place))
    }

    /// What a key says; none for a key that go-micro's registry would not have written.
    pub(crate) fn parse<'a>(&self, key: &'a [u8]) -> Option<Parts<'a>> {
        let key = std::str::from_utf8(key).ok()?;
        let (place, rest) = Place::ALL
            .into_iter()
            .find_map(|place| Some((place, key.strip_prefix(self.prefix(place))?)))?;
        let (service, node) = rest.split_once('/')?;
        let well_formed = !service.is_empty() && !node.is_empty() && !node.contains('/');
        well_formed.then_some(Parts { place, service, node })
    }

    /// Every key, of both places.
    pub(crate) fn all(&self) -> Range {
        Range { start: self.aside.clone().into_bytes(), end: after(&self.open) }
    }

    /// The keys of one place from `from` up to and without `until`, as they stand after its prefix.
    pub(crate) fn between(&self, place: Place, from: &str, until: &str) -> Range {
        let prefix = self.prefix(place);
        Range {
            start: format!("{prefix}{from}").into_bytes(),
            end: format!("{prefix}{until}").into_bytes(),
        }
    }

    /// Every key of what keys spell `service`.
    pub(crate) fn service(&self, place: Place, service: &str) -> Range {
        let folder = format!("{}{service}/", self.prefix(place));
        Range { end: after(&folder), start: folder.into_bytes() }
    }

    /// What stands after the prefix of `place` in a key, as text. What is not text becomes the greatest
    /// character there is, as which it sorts among names in ASCII.
    pub(crate) fn below(&self, place: Place, key: &[u8]) -> Option<String> {
        let rest = key.strip_prefix(self.prefix(place).as_bytes())?;
        let text = rest.utf8_chunks().next()?;
        let end = if text.invalid().is_empty() { "" } else { "\u{10ffff}" };
        Some(format!("{}{end}", text.valid()))
    }
}

/// A name as keys spell it; none if it has no form there.
pub(crate) fn part(name: &str) -> Option<String> {
    let is_folder = matches!(name, "" | "." | "..");
    (!is_folder && name.len() <= MAX_NAME_LEN).then(|| name.replace('/', "-"))
}

/// The first key after all that begin with `folder`, which ends in `/`.
fn after(folder: &str) -> Vec<u8> {
    let mut end = folder.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = b'/' + 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new("/micro/registry/")
    }

    #[test]
    fn a_key_is_spelled_as_go_micro_spells_it() {
        let key = keys().of(Place::Open, "go/micro/greeter", "greeter/1");
        assert_eq!(key.as_deref(), Some("/micro/registry/go-micro-greeter/greeter-1"));
        let aside = keys().of(Place::Aside, "web", "1");
        assert_eq!(aside.as_deref(), Some("/micro/registry.larder/web/1"));
        assert_eq!(Keys::new("/x").of(Place::Open, "web", "1").as_deref(), Some("/x/web/1"));
    }

    #[test]
    fn a_name_that_would_be_another_folder_has_no_key() {
        let long = "x".repeat(MAX_NAME_LEN + 1);
        for name in ["", ".", "..", &long] {
            assert_eq!(keys().of(Place::Open, name, "1"), None, "{name}");
            assert_eq!(keys().of(Place::Open, "web", name), None, "{name}");
        }
    }

    #[test]
    fn keys_that_go_micro_would_not_write_are_not_read() {
        let foreign = [
            "/micro/registry/web",
            "/micro/registry//1",
            "/micro/registry/web/",
            "/micro/registry/web/1/2",
            "/micro/registry.other/web/1",
            "/micro/other/web/1",
        ];
        for key in foreign {
            assert_eq!(keys().parse(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keys().parse(b"/micro/registry/\xff/1"), None);
    }

    proptest! {
        #[test]
        fn every_key_is_read_back_and_lies_in_its_ranges(service in "\\PC{1,8}", id in "\\PC{1,8}") {
            for place in Place::ALL {
                let keys = keys();
                let Some(key) = keys.of(place, &service, &id) else { continue };
                let parts = keys.parse(key.as_bytes()).expect("it was written here");
                prop_assert_eq!(parts.place, place);
                let whole = keys.join(place, parts.service, parts.node);
                prop_assert_eq!(&whole, &key);
                let ranges = [keys.all(), keys.service(place, parts.service)];
                for range in ranges {
                    prop_assert!(range.start.as_slice() <= key.as_bytes());
                    prop_assert!(key.as_bytes() < range.end.as_slice());
                }
            }
        }
    }
}
