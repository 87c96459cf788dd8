//! A filter made ready for values of one kind: its selectors are known, its values are of the right type and
//! its regular expressions compiled.

use regex::{Regex, RegexBuilder};

use super::bad::BadFilterKind;
use super::tree::{Expression, Match, Operator, Selector};
use super::{BadFilter, Field, Kind, MAX_PATH};

/// The most memory that a compiled regular expression takes, in bytes.
const MAX_COMPILED: usize = 256 * 1024;

/// How deep a regular expression may be nested.
const MAX_NESTING: u32 = 32;

#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { path: Vec<Box<str>>, is_negated: bool, test: Test },
}

#[derive(Debug)]
pub(super) enum Test {
    IsText(Box<str>),
    IsNumber(i64),
    IsBool(bool),
    Holds(Box<str>),
    IsEmpty,
    Matches(Regex),
}

impl Condition {
    pub(super) fn of(
        expression: &Expression,
        kind: fn(&[&str]) -> Option<Kind>,
        patterns: &mut usize,
    ) -> Result<Self, BadFilter> {
        let mut all = |parts: &[Expression]| {
            parts.iter().map(|part| Self::of(part, kind, patterns)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match expression {
            Expression::All(parts) => Self::All(all(parts)?),
            Expression::Any(parts) => Self::Any(all(parts)?),
            Expression::Not(part) => Self::Not(Box::new(Self::of(part, kind, patterns)?)),
            Expression::Match(part) => {
                let test = Test::of(part, kind, patterns)?;
                Self::Test { path: part.selector.0.clone(), is_negated: part.is_negated, test }
            }
        })
    }

    pub(super) fn admits<'a>(&self, field: &dyn Fn(&[&str]) -> Option<Field<'a>>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.admits(field)),
            Self::Any(parts) => parts.iter().any(|part| part.admits(field)),
            Self::Not(part) => !part.admits(field),
            Self::Test { path, is_negated, test } => match with_path(path, field) {
                Some(field) => test.holds_of(&field, *is_negated),
                // Nothing is empty, and is and does nothing else.
                None => matches!(test, Test::IsEmpty) != *is_negated,
            },
        }
    }
}

/// Hands over a path without an allocation.
fn with_path<T>(path: &[Box<str>], read: impl FnOnce(&[&str]) -> T) -> T {
    let mut names = [""; MAX_PATH];
    for (place, name) in names.iter_mut().zip(path) {
        *place = name;
    }
    read(&names[..path.len().min(MAX_PATH)])
}

impl Test {
    fn of(
        part: &Match,
        kind: fn(&[&str]) -> Option<Kind>,
        patterns: &mut usize,
    ) -> Result<Self, BadFilter> {
        let Match { selector, operator, is_negated, value } = part;
        let known = (1..=MAX_PATH).contains(&selector.0.len());
        let Some(kind) = known.then(|| with_path(&selector.0, kind)).flatten() else {
            return Err(BadFilterKind::Selector(name(selector)).into());
        };
        match (kind, operator) {
            (Kind::Text, Operator::Equal) => Ok(Self::IsText(value.clone())),
            (Kind::Number, Operator::Equal) => {
                number(value).map(Self::IsNumber).ok_or_else(|| bad_value(part, "number"))
            }
            (Kind::Bool, Operator::Equal) => crate::params::truth(value)
                .map(Self::IsBool)
                .ok_or_else(|| bad_value(part, "truth value")),
            (Kind::Text | Kind::List | Kind::Map, Operator::In) => Ok(Self::Holds(value.clone())),
            (Kind::List | Kind::Map | Kind::Objects, Operator::IsEmpty) => Ok(Self::IsEmpty),
            (Kind::Text, Operator::Matches) => {
                *patterns = patterns.checked_sub(1).ok_or(BadFilterKind::TooManyPatterns)?;
                compile(value).map(Self::Matches)
            }
            _ => {
                let operator = operator.name(*is_negated);
                Err(BadFilterKind::Operator { operator, selector: name(selector) }.into())
            }
        }
    }

    fn holds_of(&self, field: &Field<'_>, is_negated: bool) -> bool {
        if let Field::Each(fields) = field {
            return fields.iter().any(|field| self.holds_of(field, is_negated));
        }
        self.is_true_of(field) != is_negated
    }

    fn is_true_of(&self, field: &Field<'_>) -> bool {
        match (self, field) {
            (Self::IsText(value), Field::Text(text)) => **value == **text,
            (Self::IsNumber(value), Field::Number(number)) => value == number,
            (Self::IsBool(value), Field::Bool(truth)) => value == truth,
            (Self::Holds(value), Field::Text(text)) => text.contains(&**value),
            (Self::Holds(value), Field::Members(members)) => members.has(value),
            (Self::IsEmpty, Field::Members(members)) => !members.has_any(),
            (Self::Matches(regex), Field::Text(text)) => regex.is_match(text),
            _ => false,
        }
    }
}

/// As Go does when it may guess the base.
fn number(value: &str) -> Option<i64> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.strip_prefix('+').unwrap_or(value)),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => i64::from_str_radix(&format!("{sign}{}", &digits[2..]), 16).ok(),
        Some("0o") => i64::from_str_radix(&format!("{sign}{}", &digits[2..]), 8).ok(),
        Some("0b") => i64::from_str_radix(&format!("{sign}{}", &digits[2..]), 2).ok(),
        _ => value.parse().ok(),
    }
}

fn compile(pattern: &str) -> Result<Regex, BadFilter> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(MAX_NESTING);
    builder.build().map_err(|error| {
        // Its last line says what, those above it draw where.
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        BadFilterKind::Pattern { pattern: pattern.into(), why: why.into() }.into()
    })
}

fn bad_value(part: &Match, expected: &'static str) -> BadFilter {
    let selector = name(&part.selector);
    BadFilterKind::Value { value: part.value.clone(), selector, expected }.into()
}

fn name(selector: &Selector) -> Box<str> {
    // With a dot between them, whatever they are, as Consul does.
    selector.0.join(".").into()
}
