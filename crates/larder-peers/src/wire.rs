//! What peers say to each other: groupcache's HTTP, byte for byte.
//!
//! Pure. [`path`] is the request line, [`message`] the bodies, [`answer`] what a client makes of a response
//! (the fallback table), [`expiry`] the time until which a value may be handed out, [`batch`] many keys at once.
//!
//! Keys are bytes everywhere: Go's strings are, and its protobuf "string" is not checked.

pub mod answer;
pub mod batch;
pub mod expiry;
pub mod message;
pub mod path;

/// The path below which peers ask each other, as Go's.
pub const BASE_PATH: &str = "/_groupcache/";

/// The type of a value's body.
pub const PROTOBUF: &str = "application/x-protobuf";

/// A response's header by which a Larder says whether it knows the group: `known` or `unknown`. Go's peers
/// ignore it.
pub const GROUP_HEADER: &str = "larder-group";

/// A request's header with the token that the peers of a pool share.
pub const TOKEN_HEADER: &str = "larder-token";

/// A removal's header: for so many seconds the owner may still hand out what was removed, because it could
/// not be reached. Zero follows a set: the owner has a newer value, and is asked again. Go's peers ignore it.
pub const TOMBSTONE_HEADER: &str = "larder-tombstone";

/// A removal's header: it was so many milliseconds ago, and is told again. What was set since then stays. Go's peers
/// ignore it, and forget that as well.
pub const REMOVED_HEADER: &str = "larder-removed-ms-ago";

/// A get's header: who asks has a copy that expires soon, and can wait for the value that comes after it.
/// Go's peers ignore it, and answer with what they have.
pub const RENEW_HEADER: &str = "larder-renew";

/// The header of an answer to a removal: whom its sender would ask for the key, as a number that is the same for
/// the same answer. Go's peers do not send it.
pub const ASKS_HEADER: &str = "larder-asks";

#[cfg(test)]
mod tests;
