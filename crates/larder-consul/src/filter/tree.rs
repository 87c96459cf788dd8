//! What a filter says, as a tree. It prints in one way, which reads as the same tree.

use std::fmt::{self, Display as _, Write as _};
use std::str::FromStr;

use super::literal::Quoted;
use super::{BadFilter, parse};

/// A filter, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `… and …`, at least two.
    All(Vec<Expression>),
    /// `… or …`, at least two.
    Any(Vec<Expression>),
    /// `not …`
    Not(Box<Expression>),
    /// A field, compared.
    Match(Match),
}

/// A field, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Which field.
    pub selector: Selector,
    /// How.
    pub operator: Operator,
    /// Whether the opposite is meant.
    pub is_negated: bool,
    /// With what; empty for [`Operator::IsEmpty`].
    pub value: Box<str>,
}

/// The names that lead to a field, at least one and at most [`MAX_PATH`](super::MAX_PATH).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(pub Vec<Box<str>>);

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `in`, or `contains` the other way round.
    In,
    /// `is empty`
    IsEmpty,
    /// `matches`
    Matches,
}

impl FromStr for Expression {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        parse::read(text)
    }
}

impl Operator {
    /// What Consul calls it when it refuses it.
    pub(super) fn name(self, is_negated: bool) -> &'static str {
        match (self, is_negated) {
            (Self::Equal, false) => "Equal",
            (Self::Equal, true) => "Not Equal",
            (Self::In, false) => "In",
            (Self::In, true) => "Not In",
            (Self::IsEmpty, false) => "Is Empty",
            (Self::IsEmpty, true) => "Is Not Empty",
            (Self::Matches, false) => "Matches",
            (Self::Matches, true) => "Not Matches",
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => {
                join(f, parts, " and ", |part| matches!(part, Self::All(_) | Self::Any(_)))
            }
            Self::Any(parts) => join(f, parts, " or ", |part| matches!(part, Self::Any(_))),
            Self::Not(part) if matches!(**part, Self::All(_) | Self::Any(_)) => {
                write!(f, "not ({part})")
            }
            Self::Not(part) => write!(f, "not {part}"),
            Self::Match(part) => part.fmt(f),
        }
    }
}

fn join(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    word: &str,
    needs_parentheses: fn(&Expression) -> bool,
) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(word)?;
        }
        if needs_parentheses(part) {
            write!(f, "({part})")?;
        } else {
            part.fmt(f)?;
        }
    }
    Ok(())
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, operator, is_negated, value } = self;
        let value = Quoted(value);
        match (operator, is_negated) {
            (Operator::Equal, false) => write!(f, "{selector} == {value}"),
            (Operator::Equal, true) => write!(f, "{selector} != {value}"),
            (Operator::In, false) => write!(f, "{value} in {selector}"),
            (Operator::In, true) => write!(f, "{value} not in {selector}"),
            (Operator::IsEmpty, false) => write!(f, "{selector} is empty"),
            (Operator::IsEmpty, true) => write!(f, "{selector} is not empty"),
            (Operator::Matches, false) => write!(f, "{selector} matches {value}"),
            (Operator::Matches, true) => write!(f, "{selector} not matches {value}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_first() {
            Some((first, rest)) if parse::is_word(first) && **first != *"not" => {
                f.write_str(first)?;
                rest.iter().try_for_each(|name| {
                    if parse::is_word(name) {
                        write!(f, ".{name}")
                    } else {
                        write!(f, "[{}]", Quoted(name))
                    }
                })
            }
            _ => self.fmt_pointer(f),
        }
    }
}

impl Selector {
    fn fmt_pointer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pointer = String::new();
        for name in &self.0 {
            pointer.push('/');
            for letter in name.chars() {
                match letter {
                    '~' => pointer.push_str("~0"),
                    '/' => pointer.push_str("~1"),
                    letter => pointer.write_char(letter)?,
                }
            }
        }
        Quoted(&pointer).fmt(f)
    }
}
