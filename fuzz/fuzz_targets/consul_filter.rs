//! `filter` expressions. What is printed reads as the same, and a value is admitted by a filter or its opposite.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use larder_consul::filter::{Expression, Field, Fields, Filter, Kind, MAX_LENGTH};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Printed {
    tags: Vec<&'static str>,
    meta: BTreeMap<&'static str, &'static str>,
}

impl Fields for Printed {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["Name"] | ["Meta", _] | ["Checks", "Status"] => Some(Kind::Text),
            ["Port"] => Some(Kind::Number),
            ["On"] => Some(Kind::Bool),
            ["Tags"] => Some(Kind::List),
            ["Meta"] => Some(Kind::Map),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["Name"] => Field::Text("web"),
            ["Port"] => Field::Number(80),
            ["On"] => Field::Bool(true),
            ["Tags"] => Field::Members(&self.tags),
            ["Meta"] => Field::Members(&self.meta),
            ["Meta", key] => Field::Text(self.meta.get(*key)?),
            ["Checks", "Status"] => {
                Field::Each(vec![Field::Text("passing"), Field::Text("critical")])
            }
            _ => return None,
        })
    }
}

static PRINTED: LazyLock<Printed> =
    LazyLock::new(|| Printed { tags: vec!["a", "b"], meta: [("v", "1.2"), ("x-y", "z")].into() });

fuzz_target!(|text: &str| {
    let Ok(expression) = text.parse::<Expression>() else { return };
    let printed = expression.to_string();
    if printed.len() <= MAX_LENGTH {
        assert_eq!(printed.parse().as_ref(), Ok(&expression), "{printed}");
    }
    let Ok(filter) = Filter::<Printed>::of(&expression) else { return };
    let opposite =
        Filter::<Printed>::of(&Expression::Not(Box::new(expression))).expect("it was before");
    assert_ne!(filter.admits(&PRINTED), opposite.admits(&PRINTED));
});
