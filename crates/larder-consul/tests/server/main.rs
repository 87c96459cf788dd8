//! Consul's API over a registry of Larder's own: every behaviour that its clients rely on, asked in-process.

mod across;
mod agent;
mod anything;
mod blocking;
mod cached;
mod catalog;
mod checks;
mod events;
mod followed;
mod headers;
mod keys;
mod maintenance;
mod racing;
mod refusing;
mod selecting;
mod support;
