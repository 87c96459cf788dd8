//! Queries of Consul's API. What is kept is in order, and what an upstream agent is asked is the same again.

#![no_main]

use http::HeaderMap;
use larder_consul::params::read;
use larder_consul::question::{Endpoint, Question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    let headers = HeaderMap::new();
    let Ok(asked) = read(Some(query), &headers) else { return };
    let selection = &asked.selection;
    assert!(selection.tags.is_sorted_by(|one, other| one < other));
    assert!(selection.node_meta.is_sorted_by(|one, other| one < other));
    assert!(selection.others.is_sorted_by_key(|(name, _)| name));

    let (selection, token) = (selection.clone(), asked.token.clone());
    let question = Question { endpoint: Endpoint::Nodes, selection, token };
    let asked = question.path_and_query();
    let query = asked.split_once('?').map(|(_, query)| query);
    match read(query, &headers) {
        Ok(again) => assert_eq!(again.selection, question.selection),
        // Percent-encoding makes it longer.
        Err(error) => assert_eq!(error.status(), 414, "{asked}: {error}"),
    }
});
