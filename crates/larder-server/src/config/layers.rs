//! Defaults, file, environment and command line, one over the other.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Value;

use super::{Config, Group, KEYS, groups};

/// The longest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where settings are read from.
#[derive(Debug, Default)]
pub struct Layers {
    file: Option<PathBuf>,
    /// By key: the text, and what to call the place that it comes from.
    environment: BTreeMap<&'static str, (String, String)>,
    flags: BTreeMap<&'static str, (String, String)>,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What the user wrote, and where: `limits.body_bytes in larder.toml`, `LARDER_LISTEN`, `--listen`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Everything that is wrong with the configuration. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Mistake { place: at, problem }) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{at}: {problem}")?;
        }
        Ok(())
    }
}

impl Layers {
    /// Reads the file as well.
    #[must_use]
    pub fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file;
        self
    }

    /// Reads every key's variable through `read`; a key `limits.body_bytes` is
    /// `LARDER_LIMITS_BODY_BYTES`. Other variables are nobody's business: an orchestrator may set its
    /// own under this prefix.
    #[must_use]
    pub fn with_environment(mut self, read: impl Fn(&str) -> Option<String>) -> Self {
        for key in KEYS {
            let variable = format!("LARDER_{}", key.name.to_uppercase().replace('.', "_"));
            if let Some(text) = read(&variable) {
                self.environment.insert(key.name, (text, variable));
            }
        }
        self
    }

    /// Reads the process's environment.
    ///
    /// A variable that is not UTF-8 is read as if it were, so that it is refused and not overlooked.
    #[must_use]
    pub fn with_process_environment(self) -> Self {
        self.with_environment(|variable| {
            std::env::var_os(variable).map(|text| text.to_string_lossy().into_owned())
        })
    }

    /// Sets `key` by the flag `flag`.
    #[must_use]
    pub fn with_flag(mut self, key: &'static str, flag: &str, text: String) -> Self {
        self.flags.insert(key, (text, flag.to_owned()));
        self
    }

    /// Puts the layers over the defaults.
    pub fn read(self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let (mut settings, groups) = match &self.file {
            Some(file) => from_file(file, &mut mistakes),
            None => (BTreeMap::new(), Vec::new()),
        };
        settings.extend(self.environment);
        settings.extend(self.flags);
        let mut config = Config::default();
        config.groups.groups = groups;
        for key in KEYS {
            if let Some((text, place)) = settings.get(key.name)
                && let Err(expected) = (key.set)(&mut config, text)
            {
                let found = if is_secret(key.name) {
                    "something else".to_owned()
                } else {
                    format!("{:?}", without_credentials(text))
                };
                let problem = format!("expected {expected}, found {found}");
                mistakes.push(Mistake { place: place.clone(), problem });
            }
        }
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
    }
}

/// Whether the text of a setting must not be told.
fn is_secret(key: &str) -> bool {
    key.ends_with("token") || key.ends_with("password")
}

/// The text without the user and the password of a URL: a mistake ends up in logs.
pub(super) fn without_credentials(text: &str) -> String {
    match text.split_once("://").zip(text.rsplit_once('@')) {
        Some(((scheme, _), (_, host))) => format!("{scheme}://...@{host}"),
        None => text.to_owned(),
    }
}

type Settings = BTreeMap<&'static str, (String, String)>;

/// The settings of a file, and its tables of which there may be several.
fn from_file(file: &Path, mistakes: &mut Vec<Mistake>) -> (Settings, Vec<Group>) {
    let shown = file.display().to_string();
    match table_of(file, &shown) {
        Ok(mut table) => {
            let groups = table.remove("group");
            let groups = groups.map(|tables| groups::read_tables(&tables, &shown, mistakes));
            (settings(&table, &shown, mistakes), groups.unwrap_or_default())
        }
        Err(mistake) => {
            mistakes.push(mistake);
            (Settings::new(), Vec::new())
        }
    }
}

fn table_of(file: &Path, shown: &str) -> Result<toml::Table, Mistake> {
    let text = read_text(file).map_err(|error| {
        let problem = format!("cannot be read: {error}");
        Mistake { place: shown.to_owned(), problem }
    })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or("", |span| &text[..span.start]);
        let line = 1 + before.matches('\n').count();
        Mistake { place: format!("{shown}, line {line}"), problem: error.message().to_owned() }
    })
}

fn settings(table: &toml::Table, shown: &str, mistakes: &mut Vec<Mistake>) -> Settings {
    let mut settings = Settings::new();
    let mut mistake = |place, problem| mistakes.push(Mistake { place, problem });
    for (name, value) in flat(table) {
        let place = format!("{name} in {shown}");
        match (KEYS.iter().find(|key| key.name == name), as_text(&value)) {
            (Some(key), Some(text)) => drop(settings.insert(key.name, (text, place))),
            (Some(_), None) => mistake(place, "expected a text, number or list".to_owned()),
            (None, _) => mistake(place, format!("there is no such setting; {}", known_like(&name))),
        }
    }
    settings
}

/// The text of a file that is not absurdly long, as a device would be.
fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let says = format!("longer than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, says));
    }
    Ok(text)
}

/// The settings of a table and of its groups, with dotted keys.
fn flat(table: &toml::Table) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(group) => settings
                .extend(group.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone()))),
            value => settings.push((name.clone(), value.clone())),
        }
    }
    settings
}

/// The text that a variable would have to hold to say the same.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(as_text).collect();
            Some(texts?.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

fn known_like(name: &str) -> String {
    let group = name.split_once('.').map_or("", |(group, _)| group);
    let all = || KEYS.iter().map(|key| key.name);
    let mut like: Vec<&str> =
        all().filter(|key| key.split_once('.').is_some_and(|(of, _)| of == group)).collect();
    if like.is_empty() {
        like = all().collect();
    }
    format!("there are {}", like.join(", "))
}
