//! A run of neighbouring instances with its text.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use larder_registry::model::{Instance, Name};

use super::gzip::{Deflated, deflate};
use crate::wire::Form;

/// An instance and its text, which is part of a chunk's.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) instance: Arc<Instance>,
    pub(super) text: Bytes,
}

impl Piece {
    pub(super) fn written(form: Form, instance: Arc<Instance>) -> Self {
        let mut text = Vec::with_capacity(1_024);
        form.instance(&mut text, &instance);
        Self { instance, text: text.into() }
    }
}

/// What a chunk's text must do beside its instances, because of the chunks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edges {
    /// It is the first of its list: nothing comes between it and the list's beginning.
    pub(super) leads: bool,
    /// Its first application begins in it, not in the chunk before.
    pub(super) opens: bool,
    /// Its last application ends in it, not in the chunk after.
    pub(super) closes: bool,
}

/// A run of neighbouring instances, never empty. It never changes.
#[derive(Debug)]
pub(super) struct Chunk {
    pieces: Vec<Piece>,
    edges: Edges,
    text: Bytes,
    deflated: OnceLock<Deflated>,
}

impl Chunk {
    /// Puts the text together. The pieces keep their place in it, rather than texts of their own.
    pub(super) fn assemble(form: Form, mut pieces: Vec<Piece>, edges: Edges) -> Self {
        let size: usize = pieces.iter().map(|piece| piece.text.len() + 1).sum();
        let mut text = Vec::with_capacity(size + 256);
        let mut ranges = Vec::with_capacity(pieces.len());
        let mut app: Option<&Name> = None;
        for piece in &pieces {
            let name = &piece.instance.service;
            let is_continued = match app {
                None => !edges.opens,
                Some(app) => app == name,
            };
            if app.is_some() && !is_continued {
                form.close_app(&mut text);
            }
            if app.is_some() || !edges.leads {
                text.extend_from_slice(form.between());
            }
            if !is_continued {
                form.open_app(&mut text, name.as_str());
            }
            let start = text.len();
            text.extend_from_slice(&piece.text);
            ranges.push(start..text.len());
            app = Some(name);
        }
        if edges.closes {
            form.close_app(&mut text);
        }
        text.shrink_to_fit();
        let text = Bytes::from(text);
        for (piece, range) in pieces.iter_mut().zip(ranges) {
            piece.text = text.slice(range);
        }
        Self { pieces, edges, text, deflated: OnceLock::new() }
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn edges(&self) -> Edges {
        self.edges
    }

    pub(super) fn text(&self) -> &Bytes {
        &self.text
    }

    /// The text deflated: by the first who asks, who takes a millisecond for it.
    pub(super) fn deflated(&self) -> &Deflated {
        self.deflated.get_or_init(|| deflate(&self.text))
    }

    pub(super) fn first(&self) -> Option<&Instance> {
        self.pieces.first().map(|piece| &*piece.instance)
    }

    pub(super) fn last(&self) -> Option<&Instance> {
        self.pieces.last().map(|piece| &*piece.instance)
    }
}
