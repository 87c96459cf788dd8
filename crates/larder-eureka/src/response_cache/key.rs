//! What a cached answer is an answer to.

use std::fmt;

use axum::http::HeaderValue;
use larder_registry::model::Name;

use crate::wire::{Form, Format};

/// What a cached answer is an answer to. Two requests with equal keys get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// What was asked for.
    pub entity: Entity,
    /// How it is written.
    pub form: Form,
    /// Compressed or not.
    pub encoding: Encoding,
}

impl Key {
    /// Every key under which an answer about `entity` may be cached.
    pub(super) fn every(entity: &Entity) -> impl Iterator<Item = Self> + '_ {
        Form::ALL.into_iter().flat_map(|form| {
            [Encoding::Identity, Encoding::Gzip].map(|encoding| Self {
                entity: entity.clone(),
                form,
                encoding,
            })
        })
    }
}

/// What a list is about. An application cannot collide with the lists of everything, which Eureka
/// keeps under reserved names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entity {
    /// All applications.
    Apps,
    /// What changed lately.
    Delta,
    /// One application.
    App(Name),
    /// The instances with this virtual address.
    Vip(String),
    /// The instances with this secure virtual address.
    SecureVip(String),
}

impl Entity {
    /// The application of this name, in any case.
    pub fn app(name: &str) -> Self {
        Self::App(Name::new(name))
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apps => f.write_str("the registry"),
            Self::Delta => f.write_str("the delta"),
            Self::App(name) => write!(f, "application {name}"),
            Self::Vip(vip) => write!(f, "virtual address {vip}"),
            Self::SecureVip(vip) => write!(f, "secure virtual address {vip}"),
        }
    }
}

/// The value of `Content-Type`: without a charset, as Eureka sends it.
pub(crate) const fn media_type(format: Format) -> HeaderValue {
    match format {
        Format::Json => HeaderValue::from_static("application/json"),
        Format::Xml => HeaderValue::from_static("application/xml"),
    }
}

/// The compression of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// The value of `Content-Encoding` for gzip.
    pub const GZIP: HeaderValue = HeaderValue::from_static("gzip");
}
