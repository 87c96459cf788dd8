//! Items that others own, tracked in the background: the contract of flyte's AutoRefresh cache, its
//! defects, the bounds, what foreign code may do wrong, and a model.

#![cfg(not(shuttle))]
#![allow(clippy::unwrap_used, missing_debug_implementations, reason = "a test may")]

mod bounds;
mod contract;
mod defects;
mod endings;
mod mistakes;
mod model;
mod owner;
mod pace;
mod races;
