//! What a cached answer is an answer to.

use std::fmt;

use axum::http::HeaderValue;
use larder_registry::model::Name;

use crate::regions::RegionSet;
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
    /// Of which regions, beside what is registered here.
    pub regions: RegionSet,
}

impl Key {
    /// Every key under which an answer about `entity` and these regions may be cached.
    pub(super) fn every(entity: &Entity, regions: RegionSet) -> impl Iterator<Item = Self> + '_ {
        Form::ALL.into_iter().flat_map(move |form| {
            [Encoding::Identity, Encoding::Gzip].map(move |encoding| Self {
                entity: entity.clone(),
                form,
                encoding,
                regions,
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
    /// Whether clients say of which regions they want it: lists of everything, and what changed of it.
    pub(super) const fn is_of_any_regions(&self) -> bool {
        matches!(self, Self::Apps | Self::Delta)
    }

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
