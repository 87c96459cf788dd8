//! What can be written on the command line. The comments are its help.

#![expect(clippy::doc_markdown, reason = "help is plain text")]

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Larder tells services where other services are.
///
/// Start a server with `larder serve`. Services register with it over Eureka's API, or you do by hand;
/// then ask where they are.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  larder serve                                       # on http://127.0.0.1:8761
  larder register orders --port 8080 --ttl 30 --keep # until Ctrl-C
  larder services
  larder get orders
  larder watch orders";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Services(Services),
    Get(Get),
    Watch(Watch),
    Register(Register),
    Deregister(Deregister),
}

/// Start the server, on a registry of its own in memory or in front of another one.
///
/// It listens on http://127.0.0.1:8761, where Eureka's clients look for it (at /eureka), until it is
/// interrupted or asked to terminate. Every setting can be given in the file or as a variable, such as
/// LARDER_LIMITS_BODY_BYTES; see docs/configuration.md.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on, in place of 127.0.0.1:8761; can be repeated. Port 0 lets the system
    /// choose. Whoever can reach the address can change the registry.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<String>,
    /// The registry to stand in front of, in place of one in memory: etcd://HOST:PORT or mdns://, as
    /// go-micro keeps it there, or eureka+http://HOST:PORT; with commas between several servers.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Configuration file, in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// List the services and how many instances each has.
#[derive(Debug, Args)]
pub(crate) struct Services {
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Show where a service is: its instances, with address and status.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The service's name, in any case.
    #[arg(value_parser = name)]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Show the instances of a service, and a line for every change, until interrupted.
///
/// If the server goes away, it tries again until the server is back, and then shows what changed
/// meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The service's name, in any case; all services if it is left out.
    #[arg(value_parser = name)]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Register an instance of a service.
///
/// Without --ttl it stays until it is deregistered. With --ttl it leaves unless it is renewed in time;
/// --keep renews it until interrupted, and then deregisters it.
///
/// With --check-http or --check-tcp the server looks after it, and shows it as DOWN while that fails. A
/// server probes only its own machine unless it is told otherwise (checks.allow).
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("check").multiple(true))]
pub(crate) struct Register {
    /// The service's name.
    #[arg(value_parser = name)]
    pub(crate) service: String,
    /// The instance's id, unique within the service; HOST:SERVICE:PORT if it is left out.
    #[arg(long, value_parser = name)]
    pub(crate) id: Option<String>,
    /// Name of the host that it runs on.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// IP address that it is reached at; 127.0.0.1 if there is no host either.
    #[arg(long)]
    pub(crate) ip: Option<IpAddr>,
    /// Port that it is reached at.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Version that it runs.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) version: String,
    /// Something to say about it; can be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// A tag; can be repeated.
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Seconds that it stays without renewal, 1 to 86400; 30 with --keep.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) ttl: Option<u32>,
    /// URL that the server asks to see whether the instance is well: 2xx is.
    #[arg(long, value_name = "URL", group = "check")]
    pub(crate) check_http: Option<String>,
    /// Address that the server connects to, to see whether the instance is well.
    #[arg(long, value_name = "HOST:PORT", group = "check")]
    pub(crate) check_tcp: Option<String>,
    /// Seconds between two looks, 1 to 86400; 10 if it is left out.
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "check",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) check_interval: Option<u32>,
    /// Renew it until interrupted, then deregister it.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Deregister an instance of a service.
#[derive(Debug, Args)]
pub(crate) struct Deregister {
    /// The service's name, in any case.
    #[arg(value_parser = name)]
    pub(crate) service: String,
    /// The instance's id; `larder get SERVICE` shows it.
    #[arg(value_parser = name)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Whom to ask, and how to answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ask {
    /// The server to ask.
    #[arg(
        long,
        value_name = "URL",
        env = "LARDER_SERVER",
        default_value = "http://127.0.0.1:8761"
    )]
    pub(crate) server: String,
    /// Answer in JSON, for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can stand in a URL's path; the server says what else it wants of a name.
fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("expected a name".to_owned()),
        "." | ".." => Err("this cannot be a name".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_name_can_stand_in_a_path() {
        assert_eq!(name("a/b c"), Ok("a/b c".to_owned()));
        assert!(["", ".", ".."].into_iter().all(|text| name(text).is_err()));
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err());
    }
}
