//! How much a registration may hold. Those of metadata are Consul's, which bounds little else; the others
//! are those of Larder's own API.

use std::time::Duration;

/// The longest name, id, tag, address and path, in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// The longest URL or target of a check, in bytes.
pub const MAX_URL_BYTES: usize = 1_024;
/// The longest notes, output and body of a check, in bytes.
pub const MAX_PROSE_BYTES: usize = 4 << 10;
/// The longest document, such as a proxy's configuration, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 10;
/// The most tags.
pub const MAX_TAGS: usize = 256;
/// The most pairs of metadata.
pub const MAX_META: usize = 64;
/// The longest key of metadata, in bytes.
pub const MAX_META_KEY_BYTES: usize = 128;
/// The longest value of metadata, in bytes.
pub const MAX_META_VALUE_BYTES: usize = 512;
/// The most checks of one service.
pub const MAX_CHECKS: usize = 16;
/// The most addresses by network, headers, values of one header, and arguments.
pub const MAX_ITEMS: usize = 64;
/// The longest interval, timeout, TTL and so on: a year.
pub const MAX_PERIOD: Duration = Duration::from_secs(365 * 86_400);
