//! Eureka's XML: registrations, and lists as servers print them. What is written is read again as the same.

#![no_main]

use larder_eureka::wire::{ApiVersion, Form, json, xml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(registration) = xml::decode_registration(body) {
        let _ = registration.into_instance("app", 1);
    }
    if let Ok(instance) = xml::decode_instance(body) {
        let _ = json::instance(&instance);
        let printed = xml::instance(&instance, ApiVersion::V2);
        if let Ok(again) = xml::decode_instance(&printed) {
            let third = xml::decode_instance(&xml::instance(&again, ApiVersion::V2));
            let third = third.expect("what was read from ours once is read again");
            assert_eq!(again, third);
        }
    }
    let _ = xml::decode_application(body);
    if let Ok(list) = xml::decode_applications(body) {
        for form in Form::ALL {
            let _ = form.list(&list);
        }
    }
});
