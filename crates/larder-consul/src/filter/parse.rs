//! Reads a filter, by descent, and says where it stops being one.

use super::bad::{BadFilterKind, Position};
use super::literal::unescape;
use super::tree::{Expression, Match, Operator, Selector};
use super::{BadFilter, MAX_DEPTH, MAX_LENGTH, MAX_PATH};

const OPERATORS: &str =
    "\"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\" or \"not\" and one of these";
const VALUE: &str = "a value: a number, a word, or a text in \" or `";
const SELECTOR: &str = "a selector, such as Service.Meta.version or \"/Service/Meta/version\"";

pub(super) fn read(text: &str) -> Result<Expression, BadFilter> {
    if text.len() > MAX_LENGTH {
        return Err(BadFilterKind::TooLong.into());
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let expression = reader.any()?;
    reader.skip_blanks();
    if reader.rest().is_empty() {
        Ok(expression)
    } else {
        Err(reader.unexpected("\"and\", \"or\" or the end"))
    }
}

/// Whether a name can stand in a selector as it is.
pub(super) fn is_word(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_in_word)
}

fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What a comparison begins with, before its operator says what it is.
enum Start {
    /// `a.b`: a selector, or a value.
    Words(Selector),
    /// `a["b"]`: a selector.
    Indexed(Selector),
    /// Quoted, at an offset: a selector if it is a pointer and no `in` follows.
    Quoted(String, usize),
    Number(String),
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Result<Expression, BadFilter> {
        let first = self.all()?;
        self.joined("or", first, Self::all, Expression::Any)
    }

    fn all(&mut self) -> Result<Expression, BadFilter> {
        let first = self.one()?;
        self.joined("and", first, Self::one, Expression::All)
    }

    fn joined(
        &mut self,
        word: &str,
        first: Expression,
        read: fn(&mut Self) -> Result<Expression, BadFilter>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, BadFilter> {
        self.skip_blanks();
        if !self.take_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first, read(self)?];
        self.skip_blanks();
        while self.take_word(word) {
            parts.push(read(self)?);
            self.skip_blanks();
        }
        Ok(join(parts))
    }

    fn one(&mut self) -> Result<Expression, BadFilter> {
        self.skip_blanks();
        if self.take_word("not") {
            let inner = self.deeper(Self::one)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.take("(") {
            let inner = self.deeper(Self::any)?;
            self.skip_blanks();
            return if self.take(")") {
                Ok(inner)
            } else {
                Err(self.fail(BadFilterKind::Unclosed))
            };
        }
        self.comparison().map(Expression::Match)
    }

    fn deeper(
        &mut self,
        read: fn(&mut Self) -> Result<Expression, BadFilter>,
    ) -> Result<Expression, BadFilter> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(BadFilterKind::TooDeep));
        }
        self.depth += 1;
        let inner = read(self);
        self.depth -= 1;
        inner
    }

    fn comparison(&mut self) -> Result<Match, BadFilter> {
        let start = self.start()?;
        self.skip_blanks();
        let before = self.at;
        let is_negated = self.take_word("not");
        self.skip_blanks();
        if self.take_word("in") {
            return self.membership(start, is_negated, before);
        }
        self.at = before;
        let selector = match start {
            Start::Words(selector) | Start::Indexed(selector) => selector,
            Start::Quoted(pointer, at) => self.pointer(&pointer, at)?,
            Start::Number(_) => return Err(self.unexpected("\"in\" or \"not in\"")),
        };
        let (operator, is_negated) = self.operator()?;
        let value = if operator == Operator::IsEmpty { Box::default() } else { self.value()? };
        Ok(Match { selector, operator, is_negated, value })
    }

    fn start(&mut self) -> Result<Start, BadFilter> {
        let at = self.at;
        match self.rest().bytes().next() {
            Some(b'"' | b'`') => Ok(Start::Quoted(self.quoted()?, at)),
            Some(b'-' | b'0'..=b'9') => Ok(Start::Number(self.number()?.to_owned())),
            Some(first) if first.is_ascii_alphabetic() => self.selector(),
            _ => Err(self.unexpected("\"(\", \"not\", a selector or a value")),
        }
    }

    /// `value in selector`
    fn membership(
        &mut self,
        start: Start,
        is_negated: bool,
        at: usize,
    ) -> Result<Match, BadFilter> {
        let value = match start {
            Start::Words(words) => words.0.join(".").into(),
            Start::Quoted(value, _) | Start::Number(value) => value.into(),
            Start::Indexed(_) => {
                self.at = at;
                return Err(self.unexpected("an operator other than \"in\""));
            }
        };
        self.skip_blanks();
        let at = self.at;
        let selector = match self.start()? {
            Start::Words(selector) | Start::Indexed(selector) => selector,
            Start::Quoted(pointer, at) => self.pointer(&pointer, at)?,
            Start::Number(_) => {
                self.at = at;
                return Err(self.unexpected(SELECTOR));
            }
        };
        Ok(Match { selector, operator: Operator::In, is_negated, value })
    }

    /// What follows a selector; `in` has been dealt with.
    fn operator(&mut self) -> Result<(Operator, bool), BadFilter> {
        if self.take("==") {
            return Ok((Operator::Equal, false));
        }
        if self.take("!=") {
            return Ok((Operator::Equal, true));
        }
        if self.take_word("is") {
            self.skip_blanks();
            let is_negated = self.take_word("not");
            self.skip_blanks();
            let is_whole = self.take_word("empty");
            return if is_whole {
                Ok((Operator::IsEmpty, is_negated))
            } else {
                Err(self.unexpected("\"empty\" or \"not empty\""))
            };
        }
        let is_negated = self.take_word("not");
        self.skip_blanks();
        if self.take_word("contains") {
            Ok((Operator::In, is_negated))
        } else if self.take_word("matches") {
            Ok((Operator::Matches, is_negated))
        } else {
            Err(self.unexpected(OPERATORS))
        }
    }

    fn value(&mut self) -> Result<Box<str>, BadFilter> {
        self.skip_blanks();
        let at = self.at;
        let value = match self.start() {
            Ok(Start::Words(words)) => words.0.join("."),
            Ok(Start::Quoted(value, _) | Start::Number(value)) => value,
            Ok(Start::Indexed(_)) => {
                self.at = at;
                return Err(self.unexpected(VALUE));
            }
            Err(BadFilter { kind: BadFilterKind::Unexpected { .. } }) if self.at == at => {
                return Err(self.unexpected(VALUE));
            }
            Err(error) => return Err(error),
        };
        Ok(value.into())
    }

    /// `a.b["c"]`
    fn selector(&mut self) -> Result<Start, BadFilter> {
        let mut names: Vec<Box<str>> = vec![self.word()?.into()];
        let mut is_indexed = false;
        loop {
            if self.take(".") {
                names.push(self.word()?.into());
            } else if self.take("[") {
                is_indexed = true;
                self.skip_blanks();
                if !self.rest().starts_with(['"', '`']) {
                    return Err(self.unexpected("a key in \" or `"));
                }
                names.push(self.quoted()?.into());
                self.skip_blanks();
                if !self.take("]") {
                    return Err(self.unexpected("\"]\""));
                }
            } else {
                break;
            }
            if names.len() > MAX_PATH {
                return Err(BadFilterKind::Selector(Selector(names).to_string().into()).into());
            }
        }
        let selector = Selector(names);
        Ok(if is_indexed { Start::Indexed(selector) } else { Start::Words(selector) })
    }

    /// The selector that a JSON pointer stands for.
    fn pointer(&mut self, pointer: &str, at: usize) -> Result<Selector, BadFilter> {
        let Some(names) = pointer.strip_prefix('/') else {
            self.at = at;
            return Err(self.unexpected(SELECTOR));
        };
        let names = names.split('/').map(|name| name.replace("~1", "/").replace("~0", "~").into());
        let names: Vec<Box<str>> = names.take(MAX_PATH + 1).collect();
        if names.len() > MAX_PATH {
            return Err(BadFilterKind::Selector(pointer.into()).into());
        }
        Ok(Selector(names))
    }

    fn word(&mut self) -> Result<&'a str, BadFilter> {
        let rest = self.rest();
        if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(self.unexpected("a letter"));
        }
        let length = rest.bytes().take_while(|byte| is_in_word(*byte)).count();
        self.at += length;
        Ok(&rest[..length])
    }

    /// A number and nothing else: what follows must be something that can follow.
    fn number(&mut self) -> Result<&'a str, BadFilter> {
        let rest = self.rest();
        let length = rest
            .bytes()
            .take_while(|byte| is_in_word(*byte) || matches!(byte, b'-' | b'.'))
            .count();
        let number = &rest[..length];
        if !is_number(number) {
            return Err(self.fail(BadFilterKind::Number));
        }
        self.at += length;
        Ok(number)
    }

    fn quoted(&mut self) -> Result<String, BadFilter> {
        let rest = self.rest();
        let is_raw = rest.starts_with('`');
        let between = &rest[1..];
        let Some(length) = (if is_raw { between.find('`') } else { closing_quote(between) }) else {
            return Err(self.fail(BadFilterKind::Unterminated));
        };
        let between = &between[..length];
        let text = if is_raw { Some(between.to_owned()) } else { unescape(between) };
        let text = text.ok_or_else(|| self.fail(BadFilterKind::Escape))?;
        self.at += length + 2;
        Ok(text)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_there = self.rest().starts_with(sign);
        if is_there {
            self.at += sign.len();
        }
        is_there
    }

    /// Takes `word` where it is all of a word.
    fn take_word(&mut self, word: &str) -> bool {
        let is_there = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|rest| !rest.bytes().next().is_some_and(is_in_word));
        is_there && self.take(word)
    }

    fn unexpected(&self, expected: &'static str) -> BadFilter {
        self.fail(|at| BadFilterKind::Unexpected { at, expected })
    }

    fn fail(&self, kind: impl FnOnce(Position) -> BadFilterKind) -> BadFilter {
        kind(Position::of(self.text, self.at)).into()
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) =
        text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
}
