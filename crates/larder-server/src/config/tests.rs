use std::io::Write;

use super::*;

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let mut layers = Layers::default().with_environment(|name| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    let mut temporary = tempfile::NamedTempFile::new().expect("a temporary file");
    if !file.is_empty() {
        temporary.write_all(file.as_bytes()).expect("it can be written");
        layers = layers.with_file(Some(temporary.path().to_owned()));
    }
    let path = temporary.path().display().to_string();
    layers.read().map_err(|mistakes| mistakes.to_string().replace(&path, "larder.toml"))
}

/// For every key, a text that is not its default.
const OTHER: [(&str, &str); 77] = [
    ("listen", "127.0.0.2:1"),
    ("limits.body_bytes", "2048"),
    ("limits.header_bytes", "16384"),
    ("limits.headers", "50"),
    ("limits.connections", "7"),
    ("limits.client_connections", "31"),
    ("limits.request_secs", "5"),
    ("limits.idle_secs", "6"),
    ("limits.shutdown_secs", "0"),
    ("registry.max_instances", "8"),
    ("registry.log_len", "9"),
    ("registry.lease_time", "double"),
    ("registry.self_preservation", "off"),
    ("registry.self_preservation_percent", "50"),
    ("registry.self_preservation_at_least", "11"),
    ("upstream.url", "etcd://127.0.0.1:2379"),
    ("upstream.user", "larder"),
    ("upstream.password", "secret"),
    ("upstream.token", "secret"),
    ("upstream.guard", "on"),
    ("eureka.regions", "east=http://a:8761/eureka,east=b,west=c:1"),
    ("eureka.region_apps", "*=orders"),
    ("eureka.region_fallback", "off"),
    ("eureka.read_only_tier", "timer"),
    ("eureka.read_only_secs", "11"),
    ("eureka.cache_bytes", "1048576"),
    ("eureka.peers", "http://a:8761/eureka,http://b:8761/eureka"),
    ("eureka.own_url", "http://a:8761/eureka"),
    ("eureka.peer_user", "eureka"),
    ("eureka.peer_password", "secret"),
    ("eureka.peer_connect_ms", "500"),
    ("eureka.peer_batch_ms", "2000"),
    ("eureka.peer_queue", "500"),
    ("eureka.sync_secs", "14"),
    ("eureka.sync_rounds", "15"),
    ("eureka.sync_wait_secs", "16"),
    ("eureka.gate_secs", "17"),
    ("eureka.rate_limit", "on"),
    ("eureka.rate_limit_burst", "21"),
    ("eureka.rate_limit_reads", "22"),
    ("eureka.rate_limit_full_reads", "23"),
    ("eureka.rate_limit_privileged", "mine"),
    ("eureka.rate_limit_standard", "on"),
    ("consul.node_name", "node-1"),
    ("consul.node_address", "10.0.0.9"),
    ("consul.datacenter", "east"),
    ("consul.max_query_secs", "61"),
    ("consul.default_query_secs", "62"),
    ("consul.parked", "63"),
    ("consul.parked_client", "64"),
    ("consul.kv_entries", "65"),
    ("consul.kv_bytes", "1048577"),
    ("consul.cache_bytes", "1048578"),
    ("consul.stale_if_error_secs", "66"),
    ("consul.upstream_queries", "67"),
    ("groups.mode", "native"),
    ("groups.identity", "http://10.0.0.1:8761"),
    ("groups.listen", "127.0.0.2:2"),
    ("groups.peers", "http://10.0.0.1:8761,b=http://10.0.0.2:1"),
    ("groups.peers_file", "/etc/larder/peers"),
    ("groups.peers_dns", "larder.internal:8761"),
    ("groups.peers_service", "larder"),
    ("groups.token", "secret"),
    ("groups.admit", "anyone"),
    ("groups.second_owner", "on"),
    ("groups.hedge", "slowest"),
    ("groups.peer_timeout_ms", "71"),
    ("groups.peer_connections", "72"),
    ("groups.max_value_bytes", "73"),
    ("groups.retry_secs", "74"),
    ("groups.replicas", "75"),
    ("groups.write_token", "secret"),
    ("checks.allow", "10.0.0.0/8,*.internal"),
    ("checks.workers", "12"),
    ("checks.limit", "13"),
    ("log.filter", "debug"),
    ("log.format", "json"),
];

/// The seconds of the timer can be set only together with the mode.
fn file_with(key: &str, text: &str) -> String {
    match key {
        "listen" => format!("listen = [\"{text}\"]"),
        "eureka.read_only_secs" => {
            format!("[eureka]\nread_only_tier = \"timer\"\nread_only_secs = {text}")
        }
        _ => {
            let (group, name) = key.split_once('.').expect("it is in a group");
            let quote = if text.parse::<u64>().is_ok() { "" } else { "\"" };
            format!("[{group}]\n{name} = {quote}{text}{quote}")
        }
    }
}

#[test]
fn every_key_can_be_set_by_the_file_and_by_the_environment() {
    assert_eq!(OTHER.map(|(key, _)| key), KEYS.map(|key| key.name));
    let mut seen = vec![Config::default()];
    for (key, text) in OTHER {
        let from_file = read(&file_with(key, text), &[]).expect(key);
        assert!(!seen.contains(&from_file), "{key} changes nothing");
        let variable = format!("LARDER_{}", key.to_uppercase().replace('.', "_"));
        let mut environment = vec![(variable.as_str(), text)];
        if key == "eureka.read_only_secs" {
            environment.push(("LARDER_EUREKA_READ_ONLY_TIER", "timer"));
        }
        assert_eq!(read("", &environment).expect(key), from_file, "{key}");
        seen.push(from_file);
    }
}

#[test]
fn every_key_is_documented() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    for key in KEYS {
        assert!(page.contains(&format!("`{}`", key.name)), "{} is missing", key.name);
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file = "listen = [\"127.0.0.1:1\"]\n[limits]\nheaders = 11\nconnections = 1";
    let mut temporary = tempfile::NamedTempFile::new().expect("a temporary file");
    temporary.write_all(file.as_bytes()).expect("it can be written");
    let config = Layers::default()
        .with_flag("listen", "--listen", "127.0.0.1:3,[::1]:4".to_owned())
        .with_environment(|name| match name {
            "LARDER_LISTEN" => Some("127.0.0.1:2".to_owned()),
            "LARDER_LIMITS_HEADERS" => Some("12".to_owned()),
            _ => None,
        })
        .with_file(Some(temporary.path().to_owned()))
        .read()
        .expect("all is well");
    let ports: Vec<u16> = config.listen.iter().map(SocketAddr::port).collect();
    assert_eq!((ports, config.limits.headers, config.limits.connections), (vec![3, 4], 12, 1));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let file =
        "listen = \"here\"\nlisen = 1\n[limits]\nheaders = 5\nbody = 1\n[log]\nformat = [[]]";
    let told = read(file, &[("LARDER_LOG_FILTER", "=nonsense=")]).expect_err("all is wrong");
    for mistake in [
        "lisen in larder.toml: there is no such setting; there are listen, limits.body_bytes",
        "limits.body in larder.toml: there is no such setting; there are limits.body_bytes",
        "limits.headers in larder.toml: expected a whole number from 10 to 1000, found \"5\"",
        "listen in larder.toml: expected IP addresses with ports",
        "log.format in larder.toml: expected text or json, found \"\"",
        "LARDER_LOG_FILTER: expected a filter",
    ] {
        assert!(told.contains(mistake), "{mistake}\nis not in\n{told}");
    }
}

#[test]
fn groups_are_tables_of_the_file_beside_its_settings() {
    let file = "[limits]\nheaders = 11\n[[group]]\nname = \"a\"\ndirectory = \"/srv\"";
    let config = read(file, &[("LARDER_GROUPS_MODE", "native")]).expect("all is well");
    assert_eq!((config.limits.headers, config.groups.groups.len()), (11, 1));
    let told =
        read("[limits]\nheaders = 5\n[[group]]\nname = \"a\"", &[("LARDER_GROUPS_PEERS_DNS", "a")]);
    let told = told.expect_err("all is wrong");
    for mistake in [
        "limits.headers in larder.toml: expected",
        "group[1].origin in larder.toml: is needed",
        "LARDER_GROUPS_PEERS_DNS: expected NAME:PORT",
    ] {
        assert!(told.contains(mistake), "{mistake}\nis not in\n{told}");
    }
}

#[test]
fn the_members_of_a_ring_are_known_in_one_way() {
    let file = "[groups]\npeers = [\"http://a\"]\npeers_service = \"cache\"";
    let told = read(file, &[]).expect_err("there are two");
    assert!(told.contains("groups.peers_service in larder.toml: expected only one of"), "{told}");
    let none = read("[groups]\npeers = []\nlisten = []", &[]).expect("empty lists");
    assert_eq!(none.groups, Groups::default());
}

#[test]
fn a_token_that_is_refused_is_not_repeated() {
    for key in ["token", "write_token"] {
        let told = read(&format!("[groups]\n{key} = \"hunter 2\""), &[]).expect_err("a space");
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn a_password_in_a_url_is_refused_without_being_repeated() {
    for scheme in ["etcd", "eureka+http", "eureka+https"] {
        let url = format!("{scheme}://root:hunter2@a:1");
        let told = read(&format!("[upstream]\nurl = \"{url}\""), &[]).expect_err("it is refused");
        assert!(told.contains("...@a:1") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let told = read("[limits]\nheaders = \n", &[]).expect_err("a value is missing");
    assert!(told.starts_with("larder.toml, line 2: "), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let layers = Layers::default().with_file(Some("/nowhere/larder.toml".into()));
    let told = layers.read().expect_err("there is no such file").to_string();
    assert!(told.starts_with("/nowhere/larder.toml: cannot be read: "), "{told}");
}

#[test]
fn a_file_without_end_is_told() {
    let layers = Layers::default().with_file(Some("/dev/zero".into()));
    let told = layers.read().expect_err("it has no end").to_string();
    assert_eq!(told, "/dev/zero: cannot be read: longer than 1048576 bytes");
}

#[test]
fn an_empty_list_allows_nobody_and_a_wrong_pattern_is_told() {
    let none = read("[checks]\nallow = []", &[]).expect("an empty list");
    assert_eq!(none.checks.allow, Allow::default());
    let told = read("[checks]\nallow = [\"10.0.0.0/8\", \"10.0.0.0/99\"]", &[]);
    let told = told.expect_err("no such network");
    assert!(told.starts_with("checks.allow in larder.toml: expected addresses"), "{told}");
    assert!(told.contains("not \"10.0.0.0/99\""), "{told}");
}

#[test]
fn seconds_without_the_timer_are_a_mistake() {
    let told = read("[eureka]\nread_only_secs = 5", &[]).expect_err("there is no timer");
    assert!(told.contains("unless eureka.read_only_tier is timer"), "{told}");
}

#[test]
fn peers_are_a_list_that_may_be_empty() {
    let two = read("[eureka]\npeers = [\"http://a\", \"b:1\"]", &[]).expect("a list");
    assert_eq!(two.peers.urls, ["http://a", "b:1"]);
    let none = read("[eureka]\npeers = []", &[]).expect("an empty list");
    assert_eq!(none.peers, Peers::default());
    let told = read("", &[("LARDER_EUREKA_PEERS", "http://a,,b")]).expect_err("one has no name");
    assert!(told.contains("expected URLs such as"), "{told}");
}

/// Eureka's clients drop idle connections after 30 s (Spring's) or 45 s (Netflix's); a server that closes
/// them earlier makes their next call fail.
#[test]
fn a_connection_is_kept_for_longer_than_eurekas_clients_keep_it() {
    assert!(Config::default().limits.idle > Duration::from_secs(60));
}
