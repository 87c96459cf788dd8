//! `filter` expressions, as in `ServiceName matches "^web" and "prod" in ServiceTags`.
//!
//! The language is that of Consul's go-bexpr: `==`, `!=`, `in`, `not in`, `contains`, `not contains`,
//! `is empty`, `is not empty`, `matches`, `not matches`, joined by `and`, `or`, `not` and parentheses. A
//! selector is `Service.Meta.version`, `Service.Meta["version"]` or, beyond Consul 1.20, `"/Service/Meta/version"`;
//! its letters' case counts. A value is `"quoted"`, `` `as it is` ``, a number, or a bare word. What a selector
//! may be compared with is checked before any value is looked at, so that a wrong filter is refused even where
//! there is nothing to filter.
//!
//! | a selector for | takes |
//! |---|---|
//! | a text | `==` `!=` `in` `contains` (a part of it) `matches` and their negations |
//! | a number, a truth value | `==` `!=` |
//! | a list of texts | `in` `contains` (an element) `is empty` and their negations |
//! | a map | `in` `contains` (a key) `is empty` and their negations |
//!
//! What a value has not got (a key of `Meta` that is not there) is equal to nothing, holds nothing, is empty
//! and matches nothing. Consul has it match everything, which nobody can have meant. `\d`, `\w` and `\s` know
//! all of Unicode, where Go's know ASCII alone.
//!
//! A filter is bounded: [`MAX_LENGTH`] bytes, [`MAX_DEPTH`] parentheses, [`MAX_PATH`] parts of a selector,
//! [`MAX_PATTERNS`] regular expressions, which take time in proportion to what they look at.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

mod bad;
mod condition;
mod literal;
mod parse;
mod printed;
mod tree;

pub use self::bad::{BadFilter, BadFilterKind, Position};
use self::condition::Condition;
pub use self::tree::{Expression, Match, Operator, Selector};

/// The longest filter, in bytes.
pub const MAX_LENGTH: usize = 4 * 1024;

/// The most parentheses and `not`s within one another.
pub const MAX_DEPTH: usize = 64;

/// The most parts of a selector.
pub const MAX_PATH: usize = 8;

/// The most regular expressions in a filter.
pub const MAX_PATTERNS: usize = 16;

/// What can be filtered: something whose fields are found by their names, as they are printed.
pub trait Fields {
    /// What `path` stands for in every value of this kind, also in those that have nothing there; none if no
    /// value has it. What is refused is refused by this alone.
    fn kind(path: &[&str]) -> Option<Kind>;

    /// What is at `path` in this one; none if there is nothing, as with a key of a map that it has not got.
    /// To be of the [`kind`](Self::kind) that the path has: a number is never equal to a text.
    fn field(&self, path: &[&str]) -> Option<Field<'_>>;
}

/// What a selector stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Field::Text`].
    Text,
    /// A [`Field::Number`].
    Number,
    /// A [`Field::Bool`].
    Bool,
    /// [`Field::Members`] that are the elements of a list.
    List,
    /// [`Field::Members`] that are the keys of a map.
    Map,
    /// [`Field::Members`] of which nothing but their absence can be told, as of a list of objects.
    Objects,
}

/// What is at a path of a value.
#[derive(Debug, Clone)]
pub enum Field<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(i64),
    /// A truth value.
    Bool(bool),
    /// The elements of a list or the keys of a map.
    Members(&'a dyn Members),
    /// The fields of several objects of a list, as for `Checks.Status`: one that does is enough, also for a
    /// negation, as with Consul.
    Each(Vec<Field<'a>>),
}

/// The elements of a list of texts, or the keys of a map.
pub trait Members: fmt::Debug {
    /// Whether `member` is one of them.
    fn has(&self, member: &str) -> bool;

    /// Whether there are any.
    fn has_any(&self) -> bool;
}

impl<T: AsRef<str> + fmt::Debug> Members for Vec<T> {
    fn has(&self, member: &str) -> bool {
        self.iter().any(|own| own.as_ref() == member)
    }

    fn has_any(&self) -> bool {
        !self.is_empty()
    }
}

impl<K: Borrow<str> + Ord + fmt::Debug, V: fmt::Debug> Members for BTreeMap<K, V> {
    fn has(&self, member: &str) -> bool {
        self.contains_key(member)
    }

    fn has_any(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V, S> Members for HashMap<K, V, S>
where
    K: Borrow<str> + Eq + Hash + fmt::Debug,
    V: fmt::Debug,
    S: BuildHasher,
{
    fn has(&self, member: &str) -> bool {
        self.contains_key(member)
    }

    fn has_any(&self) -> bool {
        !self.is_empty()
    }
}

/// A filter for values of one kind.
pub struct Filter<F: ?Sized> {
    condition: Condition,
    of: PhantomData<fn(&F)>,
}

impl<F: Fields + ?Sized> Filter<F> {
    /// Reads a filter, and sees that it can be applied to every value of this kind.
    pub fn new(text: &str) -> Result<Self, BadFilter> {
        Self::of(&text.parse()?)
    }

    /// A filter for this kind of an expression that has been read.
    pub fn of(expression: &Expression) -> Result<Self, BadFilter> {
        let mut patterns = MAX_PATTERNS;
        let condition = Condition::of(expression, F::kind, &mut patterns)?;
        Ok(Self { condition, of: PhantomData })
    }

    /// Whether `value` is among those that are asked for.
    pub fn admits(&self, value: &F) -> bool {
        self.condition.admits(&|path| value.field(path))
    }
}

impl<F: ?Sized> fmt::Debug for Filter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.condition).finish()
    }
}

#[cfg(test)]
mod tests;
