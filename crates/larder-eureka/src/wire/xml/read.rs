//! Reads XML into a tree, without recursion and without entities.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, escape};

use crate::wire::tree::Tree;
use crate::wire::{DecodeError, MAX_DEPTH};

/// Reads one document; returns the root's name and content.
pub(super) fn document(text: &str) -> Result<(String, Tree), DecodeError> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = reader.buffer_position();
        let event =
            reader.read_event().map_err(|error| syntax(&format!("at offset {at}: {error}")))?;
        let closed = match event {
            Event::Start(start) => {
                if open.len() == MAX_DEPTH {
                    return Err(DecodeError::TooDeep(MAX_DEPTH));
                }
                open.push(Element::new(&start)?);
                None
            }
            Event::Empty(start) => Some(Element::new(&start)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => add_text(&mut open, &text.xml10_content())?,
            Event::CData(text) => add_text(&mut open, &text.xml10_content())?,
            Event::GeneralRef(entity) => add_text(&mut open, &resolve(&entity)?)?,
            Event::DocType(_) => return Err(DecodeError::Entities),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
            Event::Eof => break,
        };
        if let Some(element) = closed {
            let (name, tree) = element.finish();
            match open.last_mut() {
                Some(parent) => parent.pairs.push((name, tree)),
                None if root.is_none() => root = Some((name, tree)),
                None => return Err(syntax("there is more than one root")),
            }
        }
    }
    match open.last() {
        Some(element) => Err(syntax(&format!("<{}> is not closed", element.name))),
        None => root.ok_or_else(|| syntax("there is no element")),
    }
}

/// An element that is being read.
struct Element {
    name: String,
    pairs: Vec<(String, Tree)>,
    attributes: usize,
    text: String,
}

impl Element {
    fn new(start: &BytesStart<'_>) -> Result<Self, DecodeError> {
        let mut pairs = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| syntax(&error.to_string()))?;
            let key: &str = attribute.key.as_ref();
            let value = escape::unescape(&attribute.value).map_err(|_| DecodeError::Entities)?;
            if key != "xmlns" && !key.starts_with("xmlns:") {
                pairs.push((format!("@{key}"), Tree::Text(value.into_owned())));
            }
        }
        let name: &str = start.name().into_inner();
        let attributes = pairs.len();
        Ok(Self { name: name.to_owned(), pairs, attributes, text: String::new() })
    }

    /// A leaf is text; what has children has no text but white space, which does not count.
    fn finish(mut self) -> (String, Tree) {
        let has_children = self.pairs.len() > self.attributes;
        if self.pairs.is_empty() {
            return (self.name, Tree::Text(self.text));
        }
        if !has_children && !self.text.is_empty() {
            self.pairs.push(("$".to_owned(), Tree::Text(self.text)));
        }
        (self.name, Tree::Map(self.pairs))
    }
}

fn add_text(open: &mut [Element], text: &str) -> Result<Option<Element>, DecodeError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(syntax("there is text outside of the root")),
    }
    Ok(None)
}

/// One of the five entities that every document has, or a character by its number.
fn resolve(entity: &BytesRef<'_>) -> Result<String, DecodeError> {
    let reference = entity.resolve_char_ref().map_err(|error| syntax(&error.to_string()))?;
    if let Some(letter) = reference {
        return Ok(letter.to_string());
    }
    let known = escape::resolve_predefined_entity(entity);
    known.map(str::to_owned).ok_or(DecodeError::Entities)
}

/// A parser's message quotes names, which may be as long as the document.
fn syntax(says: &str) -> DecodeError {
    DecodeError::Syntax(says.chars().take(200).collect())
}
