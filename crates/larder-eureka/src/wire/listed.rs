//! Lists of applications, as a server prints them.

use std::sync::Arc;

use super::registration::{Dialect, read};
use super::tree::Tree;
use super::{Application, Applications, DecodeError};

/// Reads `applications`: `application` may be a list, one object, or repeated.
pub(super) fn applications(tree: &Tree, dialect: Dialect) -> Result<Applications, DecodeError> {
    let version = tree.get("versions__delta").and_then(Tree::text).unwrap_or_default();
    let expected = "a number";
    let wrong = |_| DecodeError::Field {
        field: "versions__delta",
        expected,
        found: super::tree::quote(version),
    };
    Ok(Applications {
        version: version.trim().parse().map_err(wrong)?,
        hash: tree.get("apps__hashcode").and_then(Tree::text).unwrap_or_default().to_owned(),
        apps: tree
            .all("application")
            .map(|app| application(app, dialect))
            .collect::<Result<_, _>>()?,
    })
}

/// Reads one `application`.
pub(super) fn application(tree: &Tree, dialect: Dialect) -> Result<Application, DecodeError> {
    let name = tree.get("name").and_then(Tree::text).unwrap_or_default().to_owned();
    let instances = tree
        .all("instance")
        .map(|instance| Ok(Arc::new(read(instance, dialect)?.into_listed(&name))))
        .collect::<Result<_, DecodeError>>()?;
    Ok(Application { name, instances })
}
