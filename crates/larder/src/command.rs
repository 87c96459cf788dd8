//! One file for each command.

pub(crate) mod deregister;
pub(crate) mod get;
pub(crate) mod register;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod watch;
