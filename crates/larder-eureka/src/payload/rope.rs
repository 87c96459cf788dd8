//! The applications of a list, as chunks that lists share.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use larder_registry::model::{Instance, Key, Name};

use super::Payload;
use super::chunk::{Chunk, Edges, Piece};
use super::gzip::{deflate, gzipped};
use crate::response_cache::Encoding;
use crate::wire::{Form, Heading};

/// What became of instances: as they are now, or gone.
pub(crate) type Changes = BTreeMap<Key, Option<Arc<Instance>>>;

/// All applications of a list in one form, in the order of their names, each with its instances in the
/// order of their ids. Cloning costs a reference count for each chunk.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    form: Form,
    chunk_bytes: usize,
    chunks: Vec<Arc<Chunk>>,
}

/// A chunk on its way into a rope: taken over, or to be put together.
enum Draft {
    Kept(Arc<Chunk>),
    Made(Vec<Piece>),
}

impl Rope {
    /// A rope of nothing, which cuts chunks of about `chunk_bytes` of text.
    pub(crate) fn new(form: Form, chunk_bytes: usize) -> Self {
        Self { form, chunk_bytes, chunks: Vec::new() }
    }

    /// The rope of these instances, which come in the order of their places.
    pub(crate) fn of<'a>(
        form: Form,
        chunk_bytes: usize,
        instances: impl Iterator<Item = &'a Arc<Instance>>,
    ) -> Self {
        let mut assembly = Assembly::new(form);
        let (mut pieces, mut filled) = (Vec::new(), 0);
        for held in instances {
            let piece = Piece::written(form, held.clone());
            if filled > 0 && filled + piece.text.len() > chunk_bytes {
                assembly.push(Draft::Made(std::mem::take(&mut pieces)));
                filled = 0;
            }
            filled += piece.text.len();
            pieces.push(piece);
        }
        if !pieces.is_empty() {
            assembly.push(Draft::Made(pieces));
        }
        Self { form, chunk_bytes, chunks: assembly.finish() }
    }

    /// The rope after these changes. Chunks that none of them touches are taken over as they are.
    pub(crate) fn changed(&self, changes: &Changes) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        let mut drafts = Vec::with_capacity(self.chunks.len() + 1);
        let mut left = changes.iter().peekable();
        for (place, chunk) in self.chunks.iter().enumerate() {
            let is_last = place + 1 == self.chunks.len();
            let mut own = Vec::new();
            while let Some(change) = left.next_if(|(at, _)| is_last || belongs(at, chunk)) {
                own.push(change);
            }
            if own.is_empty() {
                drafts.push(Draft::Kept(chunk.clone()));
            } else {
                self.cut(self.merged(chunk.pieces(), own), &mut drafts);
            }
        }
        if self.chunks.is_empty() {
            self.cut(self.merged(&[], left.collect()), &mut drafts);
        }
        self.assembled(self.joined(drafts))
    }

    /// A rope like this one, of nothing.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.form, self.chunk_bytes)
    }

    /// Both lists are in order; where they meet, the change counts.
    fn merged(&self, pieces: &[Piece], changes: Vec<(&Key, &Option<Arc<Instance>>)>) -> Vec<Piece> {
        let mut merged = Vec::with_capacity(pieces.len() + changes.len());
        let mut old = pieces.iter().peekable();
        for (at, now) in changes {
            while let Some(piece) = old.next_if(|piece| stands_after(at, &piece.instance)) {
                merged.push(piece.clone());
            }
            old.next_if(|piece| stands_at(at, &piece.instance));
            if let Some(now) = now {
                merged.push(Piece::written(self.form, now.clone()));
            }
        }
        merged.extend(old.cloned());
        merged
    }

    /// Cuts pieces into drafts of like size. A chunk grows to one and a half times its size before it is
    /// cut, so that the chunks of an old rope are no smaller on the whole than those of a new one, and
    /// compress as well.
    fn cut(&self, pieces: Vec<Piece>, drafts: &mut Vec<Draft>) {
        let size = size_of(&pieces);
        let fits = size <= self.chunk_bytes / 2 * 3;
        let count = if fits { 1 } else { size.div_ceil(self.chunk_bytes) };
        let share = size.div_ceil(count);
        let mut draft = Vec::new();
        let mut filled = 0;
        for piece in pieces {
            if filled > 0 && filled + piece.text.len() > share {
                drafts.push(Draft::Made(std::mem::take(&mut draft)));
                filled = 0;
            }
            filled += piece.text.len();
            draft.push(piece);
        }
        if !draft.is_empty() {
            drafts.push(Draft::Made(draft));
        }
    }

    /// Joins each small draft with the one before it, where both fit into one chunk: what leaves a
    /// chunk does not leave crumbs behind.
    fn joined(&self, drafts: Vec<Draft>) -> Vec<Draft> {
        let mut joined: Vec<Draft> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let Some(before) = joined.last_mut() else {
                joined.push(draft);
                continue;
            };
            let is_crumb = draft.size().min(before.size()) < self.chunk_bytes / 4;
            if is_crumb && draft.size() + before.size() <= self.chunk_bytes {
                before.absorb(draft);
            } else {
                joined.push(draft);
            }
        }
        joined
    }

    fn assembled(&self, drafts: Vec<Draft>) -> Self {
        let mut assembly = Assembly::new(self.form);
        for draft in drafts {
            assembly.push(draft);
        }
        Self { chunks: assembly.finish(), ..*self }
    }

    /// The whole list, with this version and this hash. As gzip, the chunks that nobody has deflated yet
    /// are.
    pub(crate) fn payload(&self, encoding: Encoding, version: i64, hash: String) -> Payload {
        let heading = Heading { version, hash, is_empty: self.chunks.is_empty() };
        let (mut open, mut close) = (Vec::new(), Vec::new());
        self.form.open(&mut open, &heading);
        self.form.close(&mut close, &heading);
        match encoding {
            Encoding::Identity => {
                let texts = self.chunks.iter().map(|chunk| chunk.text().clone());
                let all = once(open.into()).chain(texts).chain(once(close.into()));
                Payload::new(all.collect())
            }
            Encoding::Gzip => {
                let (open, close) = (deflate(&open), deflate(&close));
                let parts = self.chunks.iter().map(|chunk| chunk.deflated());
                Payload::new(gzipped(once(&open).chain(parts).chain(once(&close))))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }
}

/// Whether a change at this place belongs into this chunk, as far as those before it are spoken for.
fn belongs(at: &Key, chunk: &Chunk) -> bool {
    chunk.last().is_some_and(|last| !stands_after(at, last))
}

/// Whether this place, by service and then by id, comes after this instance's.
fn stands_after(at: &Key, instance: &Instance) -> bool {
    (&at.service, &*at.id) > (&instance.service, &*instance.id)
}

fn stands_at(at: &Key, instance: &Instance) -> bool {
    (&at.service, &*at.id) == (&instance.service, &*instance.id)
}

fn size_of(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.text.len()).sum()
}

/// Makes chunks of drafts, each as soon as its neighbours are known: while a large list is written for the
/// first time, no more than a chunk of it is held twice.
struct Assembly {
    form: Form,
    chunks: Vec<Arc<Chunk>>,
    /// Waits for the one that comes after it.
    pending: Option<Draft>,
    /// The last application of the chunk before it.
    before: Option<Name>,
}

impl Assembly {
    fn new(form: Form) -> Self {
        Self { form, chunks: Vec::new(), pending: None, before: None }
    }

    fn push(&mut self, draft: Draft) {
        let first = draft.ends().map(|(first, _)| first.service.clone());
        self.make(first.as_ref());
        self.pending = Some(draft);
    }

    fn finish(mut self) -> Vec<Arc<Chunk>> {
        self.make(None);
        self.chunks
    }

    /// `after` is the first application of what comes after the draft that waits.
    fn make(&mut self, after: Option<&Name>) {
        let Some(draft) = self.pending.take() else { return };
        let Some((first, last)) = draft.ends() else { return };
        let edges = Edges {
            leads: self.chunks.is_empty(),
            opens: self.before.as_ref() != Some(&first.service),
            closes: after != Some(&last.service),
        };
        self.before = Some(last.service.clone());
        self.chunks.push(draft.into_chunk(self.form, edges));
    }
}

impl Draft {
    fn size(&self) -> usize {
        match self {
            Self::Kept(chunk) => chunk.text().len(),
            Self::Made(pieces) => size_of(pieces),
        }
    }

    /// The first instance and the last one; none if there is nothing in it.
    fn ends(&self) -> Option<(&Instance, &Instance)> {
        match self {
            Self::Kept(chunk) => chunk.first().zip(chunk.last()),
            Self::Made(pieces) => pieces
                .first()
                .zip(pieces.last())
                .map(|(first, last)| (&*first.instance, &*last.instance)),
        }
    }

    fn into_pieces(self) -> Vec<Piece> {
        match self {
            Self::Kept(chunk) => chunk.pieces().to_vec(),
            Self::Made(pieces) => pieces,
        }
    }

    fn absorb(&mut self, other: Self) {
        let mut pieces = std::mem::replace(self, Self::Made(Vec::new())).into_pieces();
        pieces.extend(other.into_pieces());
        *self = Self::Made(pieces);
    }

    fn into_chunk(self, form: Form, edges: Edges) -> Arc<Chunk> {
        match self {
            Self::Kept(chunk) if chunk.edges() == edges => chunk,
            draft => Arc::new(Chunk::assemble(form, draft.into_pieces(), edges)),
        }
    }
}
