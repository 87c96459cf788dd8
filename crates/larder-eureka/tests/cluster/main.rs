//! Servers that tell each other: on real sockets, each in a runtime of its own, so that one can be killed.

mod calls;
mod convergence;
mod node;
mod start;
mod trouble;
