use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a service's instance prints, as far as it takes to have a field of every kind.
#[derive(Debug, Default)]
struct Printed {
    name: String,
    port: i64,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    is_overridden: bool,
    checks: Vec<String>,
}

impl Fields for Printed {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["ServiceName"] | ["ServiceMeta", _] | ["Checks", "Status"] => Some(Kind::Text),
            ["ServicePort"] => Some(Kind::Number),
            ["ServiceTags"] => Some(Kind::List),
            ["ServiceMeta"] => Some(Kind::Map),
            ["ServiceEnableTagOverride"] => Some(Kind::Bool),
            ["Checks"] => Some(Kind::Objects),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["ServiceName"] => Field::Text(&self.name),
            ["ServicePort"] => Field::Number(self.port),
            ["ServiceTags"] => Field::Members(&self.tags),
            ["ServiceMeta"] => Field::Members(&self.meta),
            ["ServiceMeta", key] => Field::Text(self.meta.get(*key)?),
            ["ServiceEnableTagOverride"] => Field::Bool(self.is_overridden),
            ["Checks"] => Field::Members(&self.checks),
            ["Checks", "Status"] => {
                Field::Each(self.checks.iter().map(|status| Field::Text(status)).collect())
            }
            _ => return None,
        })
    }
}

/// The instance that Consul 1.20.6 was asked about.
fn web() -> Printed {
    Printed {
        name: "web".to_owned(),
        port: 80,
        tags: vec!["a".to_owned(), "Prod".to_owned()],
        meta: [("v", "1.2"), ("x-y", "q")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        is_overridden: false,
        checks: vec!["passing".to_owned(), "critical".to_owned()],
    }
}

fn filter(text: &str) -> Filter<Printed> {
    Filter::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    let error = Filter::<Printed>::new(text).expect_err(text);
    assert_eq!(error.status(), 400);
    let sentence = error.to_string();
    sentence
        .strip_prefix("Failed to create boolean expression evaluator: ")
        .expect("as Consul")
        .to_owned()
}

#[test]
fn what_consul_finds_is_found() {
    let web = web();
    for text in [
        "ServiceName == web",
        "ServiceName == \"web\"",
        "ServiceName == `web`",
        "ServiceName==\"web\"",
        "ServicePort == 80",
        "ServicePort == \"80\"",
        "ServicePort == \"+80\"",
        "ServicePort == \"0x50\"",
        "ServicePort != 81",
        "\"a\" in ServiceTags",
        "a in ServiceTags",
        "ServiceTags contains a",
        "\"z\" not in ServiceTags",
        "ServiceTags is not empty",
        "ServiceMeta.v == \"1.2\"",
        "ServiceMeta[\"v\"] == \"1.2\"",
        "ServiceMeta[ `v` ] == \"1.2\"",
        "ServiceMeta.none != \"1.2\"",
        "ServiceMeta.none != \"\"",
        "ServiceMeta.none not contains \"1\"",
        "ServiceMeta.none not matches \"1\"",
        "ServiceMeta contains v",
        "v in ServiceMeta",
        "ServiceMeta[\"x-y\"] == q",
        "ServiceName matches \"^w\"",
        "ServiceName matches eb",
        "ServiceName matches \"\\\\w+\"",
        "ServiceName matches `\\w+`",
        "ServiceName matches `(?i)W`",
        "ServiceName contains \"eb\"",
        "\"eb\" in ServiceName",
        "ServiceName == \"w\\u0065b\"",
        "ServiceEnableTagOverride == false",
        "ServiceEnableTagOverride == F",
        "ServiceMeta.v matches \"1\"",
        "(ServiceName == web)",
        " ( ServicePort == 80 ) ",
        "ServiceName == x or ServicePort == 80 and ServiceTags contains a",
        "Checks.Status == critical",
        "Checks.Status != critical",
        "Checks.Status not matches \"crit\"",
    ] {
        assert!(filter(text).admits(&web), "{text}");
    }
}

#[test]
fn what_consul_leaves_out_is_left_out() {
    let web = web();
    for text in [
        "ServiceTags contains \"A\"",
        "ServiceTags not contains a",
        "ServiceTags is empty",
        "ServiceMeta is empty",
        "ServiceMeta.none == \"1.2\"",
        "ServiceMeta.none == \"\"",
        "ServiceMeta.none contains \"1\"",
        "ServiceName not matches \"^w\"",
        "not ServiceName == web",
        "not (ServiceName == web)",
        "not not ServicePort == 1",
        "ServiceName == w.b",
        "ServiceName == true",
        "ServiceName == -1",
        "ServicePort == -1",
        "ServicePort == -0",
        "ServiceEnableTagOverride != false",
        "ServiceName matches \"W\"",
        "x.y in ServiceMeta",
        "80 in ServiceTags",
        "ServiceName == not",
        "in in ServiceTags",
        "Checks is empty",
        "Checks.Status == nonsense",
        "Checks.Status not matches \".\"",
        "not Checks.Status == passing",
        "(ServiceName == x or ServicePort == 80) and ServiceTags contains b",
    ] {
        assert!(!filter(text).admits(&web), "{text}");
    }
}

#[test]
fn what_is_not_there_matches_nothing() {
    // Consul has it match.
    assert!(!filter("ServiceMeta.none matches \"1\"").admits(&web()));
}

#[test]
fn pointers_and_parentheses_close_to_words_are_read_beyond_what_consul_reads() {
    let web = web();
    for text in [
        "\"/ServiceMeta/v\" == \"1.2\"",
        "\"/ServiceMeta/x-y\" == q",
        "a in \"/ServiceTags\"",
        "((ServiceName==web)and(ServicePort==80))",
        "not(ServicePort == 1)",
        "ServiceName != \"w\\\"eb\"",
    ] {
        assert!(filter(text).admits(&web), "{text}");
    }
    let mut odd = Printed::default();
    odd.meta.insert("a/b~c".to_owned(), "1".to_owned());
    assert!(filter("\"/ServiceMeta/a~1b~0c\" == 1").admits(&odd));
}

#[test]
fn what_consul_refuses_is_refused_where_it_is_wrong() {
    for (text, sentence) in [
        ("Nope == 1", "Selector \"Nope\" is not valid"),
        ("ServiceName == web or Nope == 1", "Selector \"Nope\" is not valid"),
        ("servicename == web", "Selector \"servicename\" is not valid"),
        ("ServiceMeta.v.w == 1", "Selector \"ServiceMeta.v.w\" is not valid"),
        ("\"/Nope/a\" == 1", "Selector \"Nope.a\" is not valid"),
        ("ServiceTags == a", "Invalid match operator \"Equal\" for selector \"ServiceTags\""),
        (
            "ServiceName is empty",
            "Invalid match operator \"Is Empty\" for selector \"ServiceName\"",
        ),
        (
            "ServicePort matches \"8\"",
            "Invalid match operator \"Matches\" for selector \"ServicePort\"",
        ),
        ("ServicePort contains 8", "Invalid match operator \"In\" for selector \"ServicePort\""),
        (
            "ServiceMeta.none is not empty",
            "Invalid match operator \"Is Not Empty\" for selector \"ServiceMeta.none\"",
        ),
        ("Checks contains x", "Invalid match operator \"In\" for selector \"Checks\""),
        (
            "ServicePort == x",
            "Failed to coerce value \"x\" for selector \"ServicePort\": it is no number",
        ),
        (
            "ServicePort == 80.5",
            "Failed to coerce value \"80.5\" for selector \"ServicePort\": it is no number",
        ),
        (
            "ServiceEnableTagOverride == x",
            "Failed to coerce value \"x\" for selector \"ServiceEnableTagOverride\": it is no truth value",
        ),
        ("ServiceName matches \"(\"", "Failed to compile regular expression \"(\": unclosed group"),
    ] {
        assert_eq!(refused(text), sentence, "{text}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_says_where_and_what_was_expected() {
    for (text, beginning) in [
        (" ", "1:2 (1): no match found, expected: \"(\", \"not\""),
        ("ServiceName", "1:12 (11): no match found, expected: \"!=\", \"==\""),
        ("ServiceName == 'web'", "1:16 (15): no match found, expected: a value"),
        ("ServiceName !=  ", "1:17 (16): no match found, expected: a value"),
        ("ServiceName == web and", "1:23 (22): no match found, expected: \"(\""),
        ("== web", "1:1 (0): no match found"),
        ("! ServiceName == web", "1:1 (0): no match found"),
        ("ServiceName AND web", "1:13 (12): no match found, expected: \"!=\""),
        (
            "ServiceName == web AND x == y",
            "1:20 (19): no match found, expected: \"and\", \"or\" or the end",
        ),
        ("ServiceName is EMPTY", "1:16 (15): no match found, expected: \"empty\""),
        ("ServiceName == web)", "1:19 (18): no match found, expected: \"and\""),
        ("(ServiceName == web", "1:20 (19): rule \"grouping\": Unmatched parentheses"),
        ("ServiceTags[0] == a", "1:13 (12): no match found, expected: a key in"),
        ("ServiceTags.0 == a", "1:13 (12): no match found, expected: a letter"),
        ("ServiceMeta.x-y == q", "1:14 (13): no match found, expected: \"!=\""),
        ("ServiceName == w-b", "1:17 (16): no match found, expected: \"and\""),
        ("ServicePort == 080", "1:16 (15): rule \"number\": Invalid number literal"),
        ("ServicePort == 0x50", "1:16 (15): rule \"number\": Invalid number literal"),
        ("ServiceName == 10.0.0.1", "1:16 (15): rule \"number\": Invalid number literal"),
        ("ServiceName == \"a", "1:16 (15): rule \"string\": Unterminated string literal"),
        ("ServiceName == \"a\\d\"", "1:16 (15): rule \"string\": invalid syntax"),
        ("ServiceName ==\n\té == 1", "2:2 (16): no match found, expected: a value"),
        ("\"web\" == ServiceName", "1:1 (0): no match found, expected: a selector"),
        ("80 == ServicePort", "1:4 (3): no match found, expected: \"in\""),
        ("a in 80", "1:6 (5): no match found, expected: a selector"),
        ("a[\"b\"] in ServiceTags", "1:8 (7): no match found, expected: an operator"),
        ("a == b[\"c\"]", "1:6 (5): no match found, expected: a value"),
        ("all ServiceTags as t { t == \"a\" }", "1:5 (4): no match found, expected: \"!=\""),
    ] {
        let sentence = refused(text);
        assert!(sentence.starts_with(beginning), "{text}: {sentence}");
    }
}

#[test]
fn a_filter_has_bounds() {
    let padded = |length: usize| format!("{}ServicePort == 80", " ".repeat(length - 17));
    assert!(Filter::<Printed>::new(&padded(MAX_LENGTH)).is_ok());
    assert_eq!(refused(&padded(MAX_LENGTH + 1)), "the filter is longer than 4096 bytes");

    let nested =
        |depth: usize| format!("{}ServicePort == 80{}", "(".repeat(depth), ")".repeat(depth));
    assert!(filter(&nested(MAX_DEPTH)).admits(&web()));
    assert!(refused(&nested(MAX_DEPTH + 1)).ends_with("more than 64 deep"));
    assert!(refused(&nested(1_500)).ends_with("more than 64 deep"));
    assert!(
        refused(&format!("{}ServicePort == 80", "not ".repeat(1_000)))
            .ends_with("more than 64 deep")
    );
    let mixed = format!("{}ServicePort == 80{}", "not (".repeat(32), ")".repeat(32));
    assert!(filter(&mixed).admits(&web()));

    let long = format!("a{} == 1", ".a".repeat(MAX_PATH - 1));
    assert_eq!(refused(&long), "Selector \"a.a.a.a.a.a.a.a\" is not valid");
    assert_eq!(refused(&format!("a.{long}")), "Selector \"a.a.a.a.a.a.a.a.a\" is not valid");
    assert!(refused(&format!("\"{}\" == 1", "/a".repeat(2_000))).ends_with("is not valid"));

    let patterns = |count| vec!["ServiceName matches w"; count].join(" and ");
    assert!(filter(&patterns(MAX_PATTERNS)).admits(&web()));
    assert_eq!(refused(&patterns(MAX_PATTERNS + 1)), "there are more than 16 regular expressions");
    assert!(refused("ServiceName matches `(\\w{100}){100}`").contains("size limit"));
    assert!(
        refused(&format!("ServiceName matches `{}a{}`", "(".repeat(99), ")".repeat(99)))
            .contains("nest")
    );
}

#[test]
fn many_conditions_side_by_side_are_no_depth() {
    let wide = vec!["ServicePort == 80"; 180].join(" and ");
    assert!(filter(&wide).admits(&web()));
}

fn name() -> impl Strategy<Value = Box<str>> {
    prop_oneof!["[A-Za-z][a-z_0-9]{0,4}", "not|in|is|empty", "[a-z/~.\"\\\\\\[é\n -]{0,4}"]
        .prop_map(Into::into)
}

fn expression() -> impl Strategy<Value = Expression> {
    let operator = prop_oneof![
        Just(Operator::Equal),
        Just(Operator::In),
        Just(Operator::IsEmpty),
        Just(Operator::Matches),
    ];
    let leaf = (proptest::collection::vec(name(), 1..4), operator, any::<bool>(), ".{0,5}");
    let leaf = leaf.prop_map(|(names, operator, is_negated, value)| {
        let value = if operator == Operator::IsEmpty { Box::default() } else { value.into() };
        Expression::Match(Match { selector: Selector(names), operator, is_negated, value })
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::Any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same(expression in expression()) {
        let text = expression.to_string();
        prop_assert_eq!(text.parse::<Expression>(), Ok(expression), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Filter::<Printed>::new(&text);
    }

    #[test]
    fn neither_does_one_that_looks_like_a_filter(
        text in "((\\(|\\)|not|and|or|in|is|empty|==|!=|contains|matches|ServiceName|ServiceTags|ServicePort|\"a\"|`|\"|80|\\.|\\[) ?){0,12}",
    ) {
        if let Ok(expression) = text.parse::<Expression>() {
            prop_assert_eq!(expression.to_string().parse::<Expression>(), Ok(expression.clone()));
            if let Ok(filter) = Filter::<Printed>::of(&expression) {
                filter.admits(&web());
                let opposite = Filter::<Printed>::of(&Expression::Not(Box::new(expression))).unwrap();
                prop_assert_ne!(filter.admits(&web()), opposite.admits(&web()));
            }
        }
    }
}
