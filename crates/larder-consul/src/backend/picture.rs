//! What a watch has told, and what it tells next.
//!
//! Pure. It hears which services there are, and for each which instances; a listing is told once everything in
//! it was heard, then every change. What one answer of Consul says is one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use larder_registry::model::{Instance, Name};
use larder_registry::{Event, EventQueue};

/// What a watch knows.
#[derive(Debug)]
pub(super) struct Picture {
    /// Whether it is of everything, and the names were heard.
    names: Names,
    /// By name; none of a service that was not heard of yet.
    services: BTreeMap<Name, Option<Instances>>,
    /// Whether the listing was told.
    is_listed: bool,
    revision: u64,
    /// What fails at the moment.
    failing: BTreeSet<Topic>,
    ready: EventQueue,
}

type Instances = BTreeMap<String, Arc<Instance>>;

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// Which services there are.
    Names,
    /// The instances of one.
    Service(Name),
}

#[derive(Debug, PartialEq, Eq)]
enum Names {
    /// It is of one service.
    NotWanted,
    Unheard,
    Heard,
}

/// What is to be followed from now on, and what no more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turnover {
    pub(super) come: Vec<Name>,
    pub(super) gone: Vec<Name>,
}

impl Picture {
    /// Of one service, or of everything.
    pub(super) fn new(service: Option<&Name>) -> Self {
        let names = if service.is_some() { Names::NotWanted } else { Names::Unheard };
        Self {
            names,
            services: service.map(|name| (name.clone(), None)).into_iter().collect(),
            is_listed: false,
            revision: 0,
            failing: BTreeSet::new(),
            ready: EventQueue::default(),
        }
    }

    /// What is at hand to be told.
    pub(super) fn ready(&mut self) -> &mut EventQueue {
        &mut self.ready
    }

    /// Whether what is told next belongs to the step of what was told last.
    pub(super) fn is_amid_step(&self) -> bool {
        self.ready.is_amid_step()
    }

    /// These services there are, as of `index`.
    pub(super) fn hear_names(&mut self, names: &BTreeSet<Name>, index: u64) -> Turnover {
        self.recover(&Topic::Names);
        self.names = Names::Heard;
        let gone: Vec<Name> =
            self.services.keys().filter(|name| !names.contains(name)).cloned().collect();
        let come: Vec<Name> =
            names.iter().filter(|name| !self.services.contains_key(*name)).cloned().collect();
        for name in &gone {
            // Those who are not heard of any more fail no more either.
            self.recover(&Topic::Service(name.clone()));
            self.show(name, BTreeMap::new(), index);
            self.services.remove(name);
        }
        self.services.extend(come.iter().map(|name| (name.clone(), None)));
        self.list(index);
        Turnover { come, gone }
    }

    /// These are all the instances of a service, as of `index`.
    pub(super) fn hear_service(&mut self, name: &Name, instances: Vec<Instance>, index: u64) {
        if !self.services.contains_key(name) {
            return;
        }
        self.recover(&Topic::Service(name.clone()));
        let instances = instances.into_iter();
        let instances = instances.map(|held| (held.id.clone(), Arc::new(held))).collect();
        self.show(name, instances, index);
        self.list(index);
    }

    /// Nothing is heard of this at the moment; says whether that is the first that fails.
    pub(super) fn fail(&mut self, topic: Topic) -> bool {
        let was_well = self.failing.is_empty();
        self.failing.insert(topic);
        was_well
    }

    fn recover(&mut self, topic: &Topic) {
        if self.failing.remove(topic) && self.failing.is_empty() && self.is_listed {
            self.ready.push(Event::Resumed);
        }
    }

    fn show(&mut self, name: &Name, mut instances: Instances, index: u64) {
        let Some(held) = self.services.get_mut(name) else { return };
        let before = held.take().unwrap_or_default();
        // What has not changed stays the same `Arc`, so that whoever compares it is done at once.
        for (id, instance) in &mut instances {
            if let Some(before) = before.get(id).filter(|before| *before == instance) {
                *instance = before.clone();
            }
        }
        if self.is_listed {
            let changed = instances.iter().filter(|(id, instance)| {
                before.get(*id).is_none_or(|before| !Arc::ptr_eq(before, instance))
            });
            let mut changed = changed.peekable();
            let mut gone = before.iter().filter(|(id, _)| !instances.contains_key(*id)).peekable();
            if changed.peek().is_some() || gone.peek().is_some() {
                self.revision = index.max(self.revision + 1);
            }
            let revision = self.revision;
            let delete = |(_, instance): (_, &Arc<Instance>)| Event::Delete {
                revision,
                instance: instance.clone(),
            };
            let apply = |(_, instance): (_, &Arc<Instance>)| Event::Apply {
                revision,
                instance: instance.clone(),
            };
            self.ready.extend(gone.map(delete));
            self.ready.extend(changed.map(apply));
        }
        *held = Some(instances);
    }

    /// Tells the listing, once everything in it was heard.
    fn list(&mut self, index: u64) {
        if !self.is_listed {
            // As of the latest that was heard.
            self.revision = self.revision.max(index);
        }
        let is_complete =
            self.names != Names::Unheard && self.services.values().all(Option::is_some);
        if self.is_listed || !is_complete {
            return;
        }
        self.is_listed = true;
        self.ready.push(Event::Init);
        let instances = self.services.values().flatten().flat_map(BTreeMap::values);
        self.ready.extend(instances.cloned().map(Event::InitApply));
        self.ready.push(Event::InitDone { revision: self.revision });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name)
    }

    fn names(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::new(name)).collect()
    }

    fn instance(service: &str, id: &str, version: &str) -> Instance {
        Instance { version: version.to_owned(), ..Instance::new(service, id) }
    }

    /// In short: `=` ends a listing, `+` applies, `-` deletes, `~` resumes; with revisions.
    fn told(picture: &mut Picture) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = picture.ready().pop() {
            told.push(match event {
                Event::Init => "init".to_owned(),
                Event::InitApply(held) => held.key().to_string(),
                Event::InitDone { revision } => format!("={revision}"),
                Event::Apply { revision, instance } => format!("+{}@{revision}", instance.key()),
                Event::Delete { revision, instance } => format!("-{}@{revision}", instance.key()),
                Event::Resumed => "~".to_owned(),
            });
        }
        told
    }

    #[test]
    fn nothing_is_told_before_everything_was_heard() {
        let mut picture = Picture::new(None);
        let turnover = picture.hear_names(&names(&["web", "db"]), 5);
        assert_eq!(turnover.come, [name("db"), name("web")]);
        picture.hear_service(&name("web"), vec![instance("web", "1", "")], 9);
        assert!(told(&mut picture).is_empty());
        picture.hear_service(&name("db"), vec![], 4);
        assert_eq!(told(&mut picture), ["init", "web/1", "=9"]);
    }

    #[test]
    fn an_empty_consul_is_listed_as_such() {
        let mut picture = Picture::new(None);
        picture.hear_names(&names(&[]), 3);
        assert_eq!(told(&mut picture), ["init", "=3"]);
        let mut one = Picture::new(Some(&name("web")));
        one.hear_service(&name("WEB"), vec![], 7);
        assert_eq!(told(&mut one), ["init", "=7"]);
    }

    #[test]
    fn what_one_answer_changes_is_one_step_and_what_it_repeats_is_not_told() {
        let mut picture = Picture::new(Some(&name("web")));
        let of = |all: &[(&str, &str)]| {
            all.iter().map(|(id, version)| instance("web", id, version)).collect::<Vec<_>>()
        };
        picture.hear_service(&name("web"), of(&[("1", "a"), ("2", "a"), ("3", "a")]), 7);
        told(&mut picture);
        picture.hear_service(&name("web"), of(&[("1", "a"), ("2", "a"), ("3", "a")]), 8);
        assert!(told(&mut picture).is_empty());
        picture.hear_service(&name("web"), of(&[("1", "a"), ("2", "b"), ("4", "a")]), 9);
        assert_eq!(told(&mut picture), ["-web/3@9", "+web/2@9", "+web/4@9"]);
    }

    #[test]
    fn revisions_grow_though_each_service_counts_by_itself() {
        let mut picture = Picture::new(None);
        picture.hear_names(&names(&["a", "b"]), 5);
        picture.hear_service(&name("a"), vec![], 50);
        picture.hear_service(&name("b"), vec![], 20);
        told(&mut picture);
        picture.hear_service(&name("b"), vec![instance("b", "1", "")], 21);
        picture.hear_service(&name("a"), vec![instance("a", "1", "")], 80);
        assert_eq!(told(&mut picture), ["+b/1@51", "+a/1@80"]);
    }

    #[test]
    fn a_service_that_comes_is_heard_and_one_that_goes_is_told_gone() {
        let mut picture = Picture::new(None);
        picture.hear_names(&names(&["a"]), 5);
        picture.hear_service(&name("a"), vec![instance("a", "1", "")], 5);
        told(&mut picture);
        let turnover = picture.hear_names(&names(&["b"]), 6);
        assert_eq!((turnover.come, turnover.gone), (vec![name("b")], vec![name("a")]));
        picture.hear_service(&name("a"), vec![instance("a", "1", "")], 7);
        picture.hear_service(&name("b"), vec![instance("b", "1", "")], 7);
        assert_eq!(told(&mut picture), ["-a/1@6", "+b/1@7"]);
    }

    #[test]
    fn trouble_is_told_once_and_its_end_once_all_is_well() {
        let mut picture = Picture::new(Some(&name("a")));
        let topic = Topic::Service(name("a"));
        assert!(picture.fail(topic.clone()), "before the listing, too");
        assert!(!picture.fail(topic.clone()));
        picture.hear_service(&name("a"), vec![], 5);
        assert_eq!(told(&mut picture), ["init", "=5"], "a listing says that all is well");
        assert!(picture.fail(topic));
        picture.hear_service(&name("a"), vec![instance("a", "1", "")], 6);
        assert_eq!(told(&mut picture), ["~", "+a/1@6"]);
    }

    proptest! {
        /// Whoever follows the events holds what was heard last.
        #[test]
        fn events_lead_to_what_was_heard(
            heard in proptest::collection::vec(
                (proptest::bool::ANY, 0_usize..3, proptest::collection::btree_set("[a-c]", 0..3), "[xy]"), 1..40,
            ),
        ) {
            let services = ["s0", "s1", "s2"];
            let mut picture = Picture::new(None);
            let mut followed: BTreeSet<Name> = BTreeSet::new();
            let mut truth: BTreeMap<Name, BTreeMap<String, String>> = BTreeMap::new();
            let mut held: BTreeMap<String, String> = BTreeMap::new();
            let mut revision = 0;
            for (step, (is_names, which, ids, version)) in heard.into_iter().enumerate() {
                let index = u64::try_from(step).unwrap();
                if is_names {
                    let all: BTreeSet<Name> = services[..which].iter().map(|s| Name::new(s)).collect();
                    picture.hear_names(&all, index);
                    truth.retain(|name, _| all.contains(name));
                    followed = all;
                } else {
                    let name = Name::new(services[which]);
                    let instances = ids.iter().map(|id| instance(services[which], id, &version)).collect();
                    picture.hear_service(&name, instances, index);
                    if followed.contains(&name) {
                        truth.insert(name, ids.into_iter().map(|id| (id, version.clone())).collect());
                    }
                }
                while let Some(event) = picture.ready().pop() {
                    match event {
                        Event::InitApply(it) | Event::Apply { instance: it, .. } => {
                            held.insert(it.key().to_string(), it.version.clone());
                        }
                        Event::Delete { instance: it, .. } => {
                            prop_assert!(held.remove(&it.key().to_string()).is_some());
                        }
                        Event::Init | Event::InitDone { .. } | Event::Resumed => {}
                    }
                }
                prop_assert!(picture.revision >= revision);
                revision = picture.revision;
                if picture.is_listed {
                    let wanted: BTreeMap<String, String> = truth.iter().flat_map(|(name, ids)| {
                        ids.iter().map(move |(id, version)| (format!("{name}/{id}"), version.clone()))
                    }).collect();
                    prop_assert_eq!(&held, &wanted);
                }
            }
        }
    }
}
