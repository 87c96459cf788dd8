//! Eureka's JSON: registrations, and lists as servers print them. What can be read can be written in every
//! form, and what is written in full is read again as the same.

#![no_main]

use std::sync::Arc;

use larder_eureka::wire::{ApiVersion, Application, Applications, Form, json, xml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(registration) = json::decode_registration(body) {
        let _ = registration.into_instance("app", 1);
    }
    if let Ok(instance) = json::decode_instance(body) {
        let again = json::decode_instance(&json::instance(&instance)).expect("it is ours");
        // Times and names that nobody sent are filled in as it is printed; after that nothing changes.
        let third = json::decode_instance(&json::instance(&again)).expect("it is ours");
        assert_eq!(json::instance(&again), json::instance(&third));
        let _ = xml::instance(&instance, ApiVersion::V1);
        let app = Application { name: "app".to_owned(), instances: vec![Arc::new(instance)] };
        let list = Applications { version: 1, hash: String::new(), apps: vec![app] };
        for form in Form::ALL {
            let _ = form.list(&list);
        }
    }
    let _ = json::decode_application(body);
    if let Ok(list) = json::decode_applications(body) {
        let printed = Form::Json.list(&list);
        let again = json::decode_applications(&printed).expect("it is ours");
        assert_eq!(again.apps.len(), list.apps.len());
    }
});
