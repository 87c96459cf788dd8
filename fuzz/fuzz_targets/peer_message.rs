//! What peers of a groupcache send: values and sets. What is read is written as it was meant.

#![no_main]

use larder_peers::Mode;
use larder_peers::wire::answer::{GroupMark, Response, Verdict, judge};
use larder_peers::wire::batch::{decode_keys, decode_outcomes, encode_keys};
use larder_peers::wire::message::{decode_set, decode_value, encode_answer, encode_set};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(set) = decode_set(body) {
        let again = encode_set("g", &set.key, set.value.clone(), set.expiry);
        assert_eq!(decode_set(&again), Ok(set));
    }
    let _ = (decode_value(body), decode_outcomes(body, 1, 1_000));
    if let Ok(keys) = decode_keys(body) {
        assert_eq!(decode_keys(&encode_keys(keys.clone())), Ok(keys));
    }
    for mode in Mode::ALL {
        for (status, group) in [(200, None), (404, None), (404, Some(GroupMark::Unknown)), (503, None)] {
            let verdict = judge(mode, "g", Response { status, group, body }, 1_000);
            if let Verdict::Value(value, expiry, qps) = verdict {
                assert!(!expiry.is_past(1_000) && value.len() <= body.len());
                let body = encode_answer(value.clone(), Some(expiry), qps);
                let again = judge(Mode::MailgunV2, "g", Response { status, group, body: &body }, 1_000);
                assert_eq!(again, Verdict::Value(value, expiry, qps));
            }
        }
    }
});
