//! A groupcache: a cache that processes share, in one ring with Go's.
//!
//! [`ring`] says who owns a key, [`wire`] what peers say to each other.

pub mod ring;
pub mod wire;
