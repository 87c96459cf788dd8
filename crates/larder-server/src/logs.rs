//! What is logged, and how: one line for each event, to standard error.
//!
//! No header, no query string and no body is ever logged: they may hold secrets.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Sends what is logged from now on to standard error. The second call in a process does nothing.
pub fn start(log: &Log) {
    // The filter was read once when the configuration was; a bad one has been refused.
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if log.json {
        builder.json().try_init()
    } else if std::io::stderr().is_terminal() {
        // In colours, unless NO_COLOR says otherwise.
        builder.try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
