//! A typed, asynchronous read-through cache for values that are owned elsewhere.

pub mod clock;
pub mod expiry;

pub use clock::{Clock, Hands, Ticker, Time};
