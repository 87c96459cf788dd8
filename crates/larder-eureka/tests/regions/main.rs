//! Servers that show each other's registries, on real sockets.

mod bounds;
mod deltas;
mod node;
mod outages;
mod shown;
