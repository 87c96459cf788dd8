//! A `[[group]]` table of the file: everything that is wrong with it, and its place.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use larder_peers::HotPolicy;
use toml::{Table, Value};

use super::{MOST_GROUPS, Template};
use crate::config::layers::{Mistake, without_credentials};

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// `name`: what peers and clients know it by. 1 to 256 bytes, without a slash.
    pub name: String,
    /// `max_bytes`: what its keys and values may take in memory, with what each entry costs beside them. 0 to
    /// 1 TiB, 64 MiB by default.
    pub max_bytes: u64,
    /// `ttl_secs`: how long a value is kept at most. 1 to 315,360,000; for ever by default.
    pub ttl: Duration,
    /// `renew_ahead_secs`: what is read when less than this is left of its life is renewed in the background. 0 to
    /// 86,400, 0 by default: not at all.
    pub renew_ahead: Duration,
    /// `stale_if_error_secs`: for how long after its expiry a value is still handed out, as such, to clients here
    /// while there is no better one. 0 to 31,536,000, 0 by default: not at all.
    pub stale_if_error: Duration,
    /// `hot_qps`: copies of what other nodes own are kept of what is asked for so often a second. Above 0 and
    /// up to 1,000,000; of everything by default.
    pub hot: HotPolicy,
    /// `absent_secs`: for how long it is remembered that there is no such key. 0 to 86,400, 0 by default.
    pub absent: Duration,
    /// `load_timeout_ms`: how long the origin may take. 1 to 600,000, 10,000 by default.
    pub load_timeout: Duration,
    /// `max_value_bytes`: a larger value of the origin is an error. 1 to 1 GiB, 1 MiB by default; no more than
    /// `groups.max_value_bytes` counts.
    pub max_value_bytes: usize,
    /// `origin` or `directory`: where values come from.
    pub origin: Origin,
}

/// Where a group's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `origin`: an HTTP server.
    Http {
        /// Where each key is.
        url: Template,
        /// `headers`: sent with each request. They are marked as secrets, so that nothing prints them.
        headers: HeaderMap,
    },
    /// `directory`: the files below it.
    Directory(PathBuf),
}

/// The keys of a table.
const FIELDS: [&str; 12] = [
    "name",
    "max_bytes",
    "ttl_secs",
    "renew_ahead_secs",
    "stale_if_error_secs",
    "hot_qps",
    "absent_secs",
    "load_timeout_ms",
    "max_value_bytes",
    "origin",
    "headers",
    "directory",
];

/// What is sent in any case, or makes an answer another one.
const RESERVED: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads every `[[group]]` of `file`.
pub(in crate::config) fn read(
    value: &Value,
    file: &str,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Group> {
    let mut at = |place: &str, problem: &str| {
        let place = format!("{place} in {file}");
        mistakes.push(Mistake { place, problem: problem.to_owned() });
    };
    let Some(tables) = value.as_array().filter(|items| items.iter().all(Value::is_table)) else {
        at("group", "expected tables: write [[group]] above each");
        return Vec::new();
    };
    if tables.len() > MOST_GROUPS {
        at("group", &format!("expected at most {MOST_GROUPS} groups, found {}", tables.len()));
        return Vec::new();
    }
    let mut seen = HashMap::new();
    let mut groups = Vec::new();
    for (number, table) in (1..).zip(tables.iter().filter_map(Value::as_table)) {
        let mut fields = Fields { table, number, mistake: &mut at };
        let group = fields.group();
        if let Some(first) =
            group.as_ref().and_then(|group| seen.insert(group.name.clone(), number))
        {
            let text = format!("group[{first}] has this name already: each has one of its own");
            fields.mistake("name", &text);
        }
        groups.extend(group);
    }
    groups
}

/// One table, while it is read.
struct Fields<'a> {
    table: &'a Table,
    /// From 1 on, in the order of the file.
    number: usize,
    mistake: &'a mut dyn FnMut(&str, &str),
}

impl Fields<'_> {
    fn mistake(&mut self, field: &str, problem: &str) {
        let place = format!("group[{}].{field}", self.number);
        (self.mistake)(&place, problem);
    }

    /// None if anything is wrong.
    fn group(&mut self) -> Option<Group> {
        for field in self.table.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
            let known = FIELDS.join(", ");
            self.mistake(field, &format!("there is no such setting; there are {known}"));
        }
        let name = self.name();
        let max_bytes = self.number("max_bytes", 0..=1 << 40, 64 << 20);
        let ttl = self.number("ttl_secs", 1..=315_360_000, u64::MAX);
        let renew_ahead = self.number("renew_ahead_secs", 0..=86_400, 0);
        let stale_if_error = self.number("stale_if_error_secs", 0..=31_536_000, 0);
        let hot = self.hot();
        let absent = self.number("absent_secs", 0..=86_400, 0);
        let load_timeout = self.number("load_timeout_ms", 1..=600_000, 10_000);
        let max_value_bytes = self.number("max_value_bytes", 1..=1 << 30, 1 << 20);
        let origin = self.origin();
        Some(Group {
            name: name?,
            max_bytes: max_bytes?,
            ttl: ttl.map(
                |ttl| if ttl == u64::MAX { Duration::MAX } else { Duration::from_secs(ttl) },
            )?,
            renew_ahead: renew_ahead.map(Duration::from_secs)?,
            stale_if_error: stale_if_error.map(Duration::from_secs)?,
            hot: hot?,
            absent: absent.map(Duration::from_secs)?,
            load_timeout: load_timeout.map(Duration::from_millis)?,
            max_value_bytes: usize::try_from(max_value_bytes?).ok()?,
            origin: origin?,
        })
    }

    fn name(&mut self) -> Option<String> {
        let is_name = |name: &str| {
            (1..=256).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_control())
        };
        match self.table.get("name").map(Value::as_str) {
            Some(Some(name)) if is_name(name) => return Some(name.to_owned()),
            None => self.mistake("name", "is needed: what peers and clients know the group by"),
            _ => self
                .mistake("name", "expected 1 to 256 bytes, without a slash or control characters"),
        }
        None
    }

    fn number(&mut self, field: &str, range: RangeInclusive<u64>, default: u64) -> Option<u64> {
        let Some(value) = self.table.get(field) else { return Some(default) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = range.into_inner();
            self.mistake(field, &format!("expected a whole number from {from} to {to}"));
        }
        number
    }

    fn hot(&mut self) -> Option<HotPolicy> {
        let Some(value) = self.table.get("hot_qps") else { return Some(HotPolicy::Always) };
        let whole = value.as_integer().and_then(|number| u32::try_from(number).ok());
        let qps = value.as_float().or(whole.map(f64::from));
        let qps = qps.filter(|qps| *qps > 0.0 && *qps <= 1e6);
        if qps.is_none() {
            self.mistake("hot_qps", "expected a number above 0 and up to 1000000");
        }
        qps.map(|qps| HotPolicy::ByRate { qps })
    }

    fn origin(&mut self) -> Option<Origin> {
        let (table, headers) = (self.table, self.headers());
        match (table.get("origin"), table.get("directory")) {
            (Some(origin), None) => {
                let url = self.template(origin);
                Some(Origin::Http { url: url?, headers: headers? })
            }
            (None, Some(directory)) => {
                if table.contains_key("headers") {
                    self.mistake("headers", "a directory is sent none: they belong to an origin");
                    return None;
                }
                self.directory(directory)
            }
            (Some(_), Some(_)) => {
                self.mistake("directory", "a group has an origin or a directory, not both");
                None
            }
            (None, None) => {
                let text = "is needed, or a directory: where values come from";
                self.mistake("origin", text);
                None
            }
        }
    }

    fn template(&mut self, value: &Value) -> Option<Template> {
        let expected = "a URL such as http://users.internal:8080/v1/users/{key}".to_owned();
        match value.as_str().map_or(Err(expected), Template::parse) {
            Ok(template) => Some(template),
            Err(expected) => {
                let found = without_credentials(value.as_str().unwrap_or("something else"));
                self.mistake("origin", &format!("expected {expected}, found {found:?}"));
                None
            }
        }
    }

    fn directory(&mut self, value: &Value) -> Option<Origin> {
        let directory = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
        if directory.is_none() {
            self.mistake("directory", "expected an absolute path, such as /var/lib/larder/users");
        }
        directory.map(Origin::Directory)
    }

    /// What they hold is a secret, and not told.
    fn headers(&mut self) -> Option<HeaderMap> {
        let none = Table::new();
        let table = match self.table.get("headers") {
            None => &none,
            Some(Value::Table(table)) => table,
            Some(_) => {
                let text = "expected a table such as { Authorization = \"Bearer …\" }";
                self.mistake("headers", text);
                return None;
            }
        };
        let (mut headers, mut is_right) = (HeaderMap::new(), true);
        for (name, value) in table {
            match header(name, value) {
                Ok((name, value)) => drop(headers.insert(name, value)),
                Err(problem) => {
                    self.mistake(&format!("headers.{name}"), problem);
                    is_right = false;
                }
            }
        }
        is_right.then_some(headers)
    }
}

fn header(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name: HeaderName = name.parse().map_err(|_| "this cannot be the name of a header")?;
    if RESERVED.contains(&name.as_str()) {
        return Err("this header is not for a configuration: it is sent as HTTP needs it");
    }
    let text = value.as_str().ok_or("expected a text")?;
    let mut value = HeaderValue::from_str(text).map_err(|_| "expected visible characters")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Group>, String> {
        let table: Table = toml::from_str(text).expect("it is TOML");
        let mut mistakes = Vec::new();
        let groups = super::read(&table["group"], "larder.toml", &mut mistakes);
        let told = |Mistake { place, problem }: &Mistake| format!("{place}: {problem}");
        if mistakes.is_empty() {
            return Ok(groups);
        }
        Err(mistakes.iter().map(told).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_group_has_a_name_and_an_origin_and_defaults() {
        let groups = read(
            r#"
            [[group]]
            name = "users"
            origin = "http://u:1/{key}"
            headers = { Authorization = "Bearer hunter2" }
            [[group]]
            name = "pages"
            directory = "/srv"
            max_bytes = 0
            ttl_secs = 5
            renew_ahead_secs = 1
            stale_if_error_secs = 2
            hot_qps = 0.5
            absent_secs = 6
            load_timeout_ms = 7
            max_value_bytes = 8
            "#,
        );
        let groups = groups.expect("all is well");
        let [users, pages] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((users.max_bytes, users.ttl), (64 << 20, Duration::MAX));
        assert_eq!((users.absent, users.max_value_bytes), (Duration::ZERO, 1 << 20));
        let Origin::Http { headers, .. } = &users.origin else { panic!("{users:?}") };
        assert_eq!(headers["authorization"], "Bearer hunter2");
        assert!(!format!("{users:?}").contains("hunter2"), "{users:?}");
        let expected = Group {
            name: "pages".to_owned(),
            max_bytes: 0,
            ttl: Duration::from_secs(5),
            renew_ahead: Duration::from_secs(1),
            stale_if_error: Duration::from_secs(2),
            hot: HotPolicy::ByRate { qps: 0.5 },
            absent: Duration::from_secs(6),
            load_timeout: Duration::from_millis(7),
            max_value_bytes: 8,
            origin: Origin::Directory("/srv".into()),
        };
        assert_eq!(*pages, expected);
    }

    #[test]
    fn every_mistake_of_every_group_is_told_at_once_with_its_place() {
        let told = read(
            r#"
            [[group]]
            origin = "https://u/{key}"
            max_byte = 1
            [[group]]
            name = "a/b"
            origin = "http://root:hunter2@u/{key}"
            directory = "/srv"
            ttl_secs = 0
            hot_qps = 0
            load_timeout_ms = "1s"
            [[group]]
            name = "same"
            directory = "srv"
            headers = {}
            [[group]]
            name = "same"
            origin = "http://u/{key}"
            headers = { "a b" = "hunter2", Range = "hunter2", X = 5, Y = "hunter2\n" }
            [[group]]
            name = "same"
            directory = "/srv"
            [[group]]
            name = "same"
            directory = "/srv"
            "#,
        );
        let told = told.expect_err("all is wrong");
        for mistake in [
            "group[1].max_byte in larder.toml: there is no such setting; there are name, max_bytes",
            "group[1].name in larder.toml: is needed",
            "group[1].origin in larder.toml: expected http://HOST:PORT/…, as TLS is not built in",
            "group[2].name in larder.toml: expected 1 to 256 bytes, without a slash",
            "group[2].directory in larder.toml: a group has an origin or a directory, not both",
            "group[2].ttl_secs in larder.toml: expected a whole number from 1 to 315360000",
            "group[2].hot_qps in larder.toml: expected a number above 0 and up to 1000000",
            "group[2].load_timeout_ms in larder.toml: expected a whole number from 1 to 600000",
            "group[3].headers in larder.toml: a directory is sent none",
            "group[4].headers.a b in larder.toml: this cannot be the name of a header",
            "group[4].headers.Range in larder.toml: this header is not for a configuration",
            "group[4].headers.X in larder.toml: expected a text",
            "group[4].headers.Y in larder.toml: expected visible characters",
            "group[6].name in larder.toml: group[5] has this name already",
        ] {
            assert!(told.contains(mistake), "{mistake}\nis not in\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn what_is_no_table_is_told() {
        for text in ["group = 5", "group = [5]", "[group]\nname = \"a\""] {
            let told = read(text).expect_err(text);
            assert_eq!(told, "group in larder.toml: expected tables: write [[group]] above each");
        }
        let many = "[[group]]\n".repeat(MOST_GROUPS + 1);
        let told = read(&many).expect_err("they are too many");
        assert_eq!(told, "group in larder.toml: expected at most 256 groups, found 257");
        let told = read("[[group]]\nname = \"a\"").expect_err("it has no origin");
        assert_eq!(
            told,
            "group[1].origin in larder.toml: is needed, or a directory: where values come from"
        );
    }
}
