//! Words for what the model has an enumeration of. An unknown word is an error, not a guess.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Eureka's words for a status.
pub(in crate::mapping) mod status {
    use larder_registry::model::Status;
    use serde::{Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::mapping) fn serialize<S: Serializer>(
        status: &Option<Status>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        status.map(Status::as_str).serialize(serializer)
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Status>, D::Error> {
        super::word(deserializer, Status::from_name)
    }
}

/// Eureka's words for what last happened.
pub(in crate::mapping) mod action {
    use larder_registry::model::Action;
    use serde::{Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::mapping) fn serialize<S: Serializer>(
        action: &Option<Action>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        action.map(Action::as_str).serialize(serializer)
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Action>, D::Error> {
        let actions = [Action::Added, Action::Modified, Action::Deleted];
        super::word(deserializer, |word| actions.into_iter().find(|action| action.as_str() == word))
    }
}

/// Consul's words for what a check says.
pub(in crate::mapping) mod health {
    use larder_registry::model::Health;
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::mapping) fn serialize<S: Serializer>(
        health: &Health,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word = match health {
            Health::Passing => "passing",
            Health::Warning => "warning",
            Health::Critical => "critical",
        };
        word.serialize(serializer)
    }

    pub(in crate::mapping) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Health, D::Error> {
        let health = super::word(deserializer, |word| match word {
            "passing" => Some(Health::Passing),
            "warning" => Some(Health::Warning),
            "critical" => Some(Health::Critical),
            _ => None,
        })?;
        health.ok_or_else(|| D::Error::custom("a check says nothing"))
    }
}

fn word<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    let Some(word) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let found = find(&word).ok_or_else(|| D::Error::custom(format!("unknown word {word:?}")))?;
    Ok(Some(found))
}
