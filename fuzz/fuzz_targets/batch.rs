//! What peers send each other: batches, and the answers to them.

#![no_main]

use larder_eureka::wire::replication::{decode_answers, decode_batch, encode_answers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(items) = decode_batch(body) {
        for item in items {
            if let Some(Ok(instance)) = item.instance {
                let _ = instance.into_instance(item.key.service.as_str(), 1);
            }
        }
    }
    if let Ok(answers) = decode_answers(body) {
        let again = decode_answers(&encode_answers(&answers)).expect("it is ours");
        assert_eq!(again.len(), answers.len());
    }
});
