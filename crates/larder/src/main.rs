//! The command line of Larder: starts the server, and asks one.

mod args;
mod client;
mod command;
mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::reason(format!("cannot start: {error}")).tell(),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Serve(serve) => command::serve::run(serve).await,
            Command::Services(services) => command::services::run(services).await,
            Command::Get(get) => command::get::run(get).await,
            Command::Watch(watch) => command::watch::run(watch).await,
            Command::Register(register) => command::register::run(register).await,
            Command::Deregister(deregister) => command::deregister::run(deregister).await,
        }
    });
    done.map_or_else(|failure| failure.tell(), |()| ExitCode::SUCCESS)
}
