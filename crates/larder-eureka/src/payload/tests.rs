use std::io::Read;

use flate2::read::GzDecoder;
use larder_registry::catalog::Catalog;
use larder_registry::model::{Action, Instance, Key};
use proptest::prelude::*;

use super::*;
use crate::response_cache::Encoding;
use crate::wire::{Application, Applications, Form};

fn instance(service: &str, id: &str, size: usize) -> Instance {
    let mut instance = Instance::new(service, id);
    instance.vips.plain = Some("v".repeat(size));
    instance
}

/// The list as it is written all at once.
fn expected(form: Form, catalog: &Catalog) -> String {
    let now = catalog.snapshot();
    let apps = now.services().map(|service| Application {
        name: service.name().to_string(),
        instances: service.instances().cloned().collect(),
    });
    let list = Applications { version: 1, hash: "UP_1_".into(), apps: apps.collect() };
    String::from_utf8(form.list(&list)).expect("it is UTF-8")
}

fn text(rope: &Rope) -> String {
    let payload = rope.payload(Encoding::Identity, 1, "UP_1_".into());
    assert_eq!(payload.len(), payload.to_bytes().len());
    String::from_utf8(payload.to_bytes().to_vec()).expect("it is UTF-8")
}

fn unpacked(rope: &Rope) -> String {
    let gzip = rope.payload(Encoding::Gzip, 1, "UP_1_".into()).to_bytes();
    let mut text = String::new();
    GzDecoder::new(&gzip[..]).read_to_string(&mut text).expect("it is one gzip member");
    text
}

/// A change of the catalog: which service and instance, and how large it is; none to remove it.
fn step() -> impl Strategy<Value = (usize, usize, Option<usize>)> {
    (0..4_usize, 0..12_usize, proptest::option::weighted(0.6, 0..600_usize))
}

/// Does a step, and says what changed; nothing if there was nothing to remove.
fn take(
    catalog: &mut Catalog,
    (service, id, size): (usize, usize, Option<usize>),
) -> Option<(Key, Option<Arc<Instance>>)> {
    let (service, id) = (["a", "b", "C", "d"][service], id.to_string());
    let key = Key::new(service, &id);
    let change = match size {
        Some(size) => catalog.put(instance(service, &id, size), Action::Added, 7),
        None => catalog.remove(&key, 7)?,
    };
    Some((key, size.is_some().then_some(change.instance)))
}

proptest! {
    /// Chunks of 1,000 bytes hold one instance or a few: edges are everywhere.
    #[test]
    fn a_rope_that_follows_changes_reads_as_the_list_that_is_written_anew(
        steps in proptest::collection::vec(step(), 1..40),
        at_once in 1..6_usize,
        form in proptest::sample::select(Form::ALL.to_vec()),
    ) {
        let mut catalog = Catalog::new(0, 10);
        let mut rope = Rope::new(form, 1_000);
        for steps in steps.chunks(at_once) {
            let changes = steps.iter().filter_map(|step| take(&mut catalog, *step)).collect();
            rope = rope.changed(&changes);
            prop_assert_eq!(text(&rope), expected(form, &catalog));
            prop_assert_eq!(unpacked(&rope), expected(form, &catalog));
        }
        let anew = Rope::of(form, 1_000, catalog.snapshot().instances());
        prop_assert_eq!(text(&anew), text(&rope));
    }

    #[test]
    fn parts_that_were_deflated_apart_are_one_member(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..5_000), 1..6),
    ) {
        let deflated: Vec<_> = parts.iter().map(|part| gzip::deflate(part)).collect();
        let member = gzip::gzipped(deflated.iter()).concat();
        let mut whole = Vec::new();
        GzDecoder::new(&member[..]).read_to_end(&mut whole).expect("it is one gzip member");
        prop_assert_eq!(whole, parts.concat());
    }
}

fn full(instances: usize) -> (Catalog, Rope) {
    let mut catalog = Catalog::new(0, 10);
    for id in 0..instances {
        let service = format!("s{:02}", id % 20);
        catalog.put(instance(&service, &format!("{id:04}"), 500), Action::Added, 7);
    }
    let rope = Rope::of(Form::Json, 16_000, catalog.snapshot().instances());
    (catalog, rope)
}

#[test]
fn one_change_makes_one_chunk_anew() {
    let (mut catalog, rope) = full(1_000);
    let changed = catalog.put(instance("s07", "0107", 501), Action::Modified, 8);
    let after = rope.changed(&[(Key::new("s07", "0107"), Some(changed.instance))].into());
    assert_eq!(after.chunks().len(), rope.chunks().len());
    let anew = after.chunks().iter().zip(rope.chunks()).filter(|(one, two)| !Arc::ptr_eq(one, two));
    assert_eq!(anew.count(), 1);
    assert_eq!(text(&after), expected(Form::Json, &catalog));
}

#[test]
fn what_leaves_a_rope_leaves_no_crumbs_and_what_joins_it_no_hills() {
    let (mut catalog, mut rope) = full(1_000);
    for id in 0..1_000 {
        if id % 100 != 0 {
            let key = Key::new(&format!("s{:02}", id % 20), &format!("{id:04}"));
            catalog.remove(&key, 8);
            rope = rope.changed(&[(key, None)].into());
        }
    }
    assert_eq!(text(&rope), expected(Form::Json, &catalog));
    assert!(rope.chunks().len() <= 2, "{} chunks for ten instances", rope.chunks().len());
    for id in 0..1_000 {
        let put = catalog.put(instance("s07", &format!("{id:04}"), 500), Action::Added, 9);
        rope = rope.changed(&[(put.instance.key(), Some(put.instance))].into());
    }
    assert_eq!(text(&rope), expected(Form::Json, &catalog));
    let largest = rope.chunks().iter().map(|chunk| chunk.text().len()).max();
    assert!(largest.is_some_and(|bytes| bytes < 26_000), "{largest:?} bytes");
}

#[test]
fn an_instance_larger_than_a_chunk_has_one_of_its_own() {
    let mut catalog = Catalog::new(0, 10);
    for (id, size) in [("1", 10), ("2", 5_000), ("3", 10)] {
        catalog.put(instance("a", id, size), Action::Added, 7);
    }
    let rope =
        Rope::of(Form::Xml(crate::wire::ApiVersion::V2), 1_000, catalog.snapshot().instances());
    assert_eq!(text(&rope), expected(Form::Xml(crate::wire::ApiVersion::V2), &catalog));
}

#[tokio::test]
async fn a_body_is_sent_in_its_pieces_and_knows_its_length() {
    let pieces = ["larder ", "keeps ", "copies"].map(|piece| Bytes::from_static(piece.as_bytes()));
    let mut body = Payload::new(pieces.to_vec()).into_body();
    assert_eq!(body.size_hint().exact(), Some(19));
    let mut got = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        got.push(frame.expect("nothing fails").into_data().expect("data"));
    }
    assert_eq!(got, pieces);
    assert!(body.is_end_stream());
}
