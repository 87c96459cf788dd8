//! `/cache/<group>/<key>`: values for programs in any language.
//!
//! The key is the rest of the path, percent-decoded: bytes, slashes and all. Nothing tidies it on the way.

mod conditions;
mod etag;
mod range;
mod refusals;
mod respond;
mod write;

use axum::extract::Request;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use larder_peers::Group;
use larder_peers::wire::path::{PathError, parse};

use super::origin::Origin;
use super::{CACHE, Groups};
use refusals::Refused;

/// A group, and a key that may be in it.
struct Place<'a> {
    group: &'a Group<Origin>,
    key: Bytes,
}

/// Answers a client.
pub(super) async fn answer(groups: &Groups, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let answered = match place(groups, head.uri.path()) {
        Ok(place) => match head.method {
            Method::GET | Method::HEAD => get(groups, &place, &head).await,
            Method::PUT => write::put(groups, &place, &head, body).await,
            Method::DELETE => write::delete(groups, &place, &head).await,
            ref other => Err(refusals::method(other)),
        },
        Err(refused) => Err(refused),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn place<'a>(groups: &'a Groups, path: &str) -> Result<Place<'a>, Refused> {
    let target = parse(CACHE, path).map_err(|error| match error {
        PathError::Escape => refusals::escape(),
        PathError::NoKey | PathError::Elsewhere => refusals::no_key(),
    })?;
    let group = str::from_utf8(&target.group).ok().and_then(|name| groups.by_name.get(name));
    let group = group.ok_or_else(|| refusals::no_group(groups.by_name.keys()))?;
    Ok(Place { group, key: target.key.into() })
}

async fn get(groups: &Groups, place: &Place<'_>, head: &Parts) -> Result<Response, Refused> {
    let patience = groups.rules.patience;
    let got = place.group.get_within(&place.key, patience).await;
    let got = got.map_err(|error| refusals::of_get(place.group.name(), error))?;
    Ok(respond::value(&got, groups.clock.wall(), &head.method, &head.headers))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::body::{Body, to_bytes};
    use larder_cache::Clock;
    use larder_consul::server::Client;
    use larder_registry::{Memory, Registry, memory};

    use super::*;
    use crate::config::{Config, Secret};

    /// Groups with one that is filled by a directory.
    fn groups(token: &str, directory: &std::path::Path) -> std::sync::Arc<Groups> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = format!("[[group]]\nname = \"values\"\ndirectory = {directory:?}");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("it can be written");
        let layers = crate::config::Layers::default().with_file(Some(file.path().to_owned()));
        let mut config: Config = layers.read().expect("all is well");
        config.groups.write_token = Secret(token.to_owned());
        let at = ["127.0.0.1:1".parse().expect("an address")];
        let clock = Clock::running();
        let registry = Memory::start(memory::Options::default(), clock.clone());
        let registry: std::sync::Arc<dyn Registry> = std::sync::Arc::new(registry);
        let groups = Groups::open(&config, &at, &registry, &clock).expect("all is well");
        groups.expect("there is one")
    }

    async fn ask(
        groups: &Groups,
        method: &str,
        from: Option<&str>,
        authorization: Option<&str>,
    ) -> (u16, String) {
        let mut request = Request::builder().method(method).uri("/cache/values/key");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let mut request = request.body(Body::from("value")).expect("a request");
        if let Some(from) = from {
            let ip: IpAddr = from.parse().expect("an address");
            request.extensions_mut().insert(Client(ip));
        }
        let response = answer(groups, request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.expect("it is short");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn this_machine_may_write_and_who_has_the_token_and_nobody_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let (without, with) = (groups("", directory.path()), groups("secret", directory.path()));
        let (near, far) = (Some("127.0.0.1"), Some("10.0.0.1"));
        for method in ["PUT", "DELETE"] {
            for near in [near, Some("::1"), Some("::ffff:127.0.0.1")] {
                assert_eq!(ask(&without, method, near, None).await.0, 204, "{near:?}");
            }
            assert_eq!(ask(&with, method, far, Some("Bearer secret")).await.0, 204);
            for from in [far, Some("2001:db8::1"), None] {
                for shown in [None, Some("Bearer "), Some("Bearer secre"), Some("Basic secret")] {
                    for groups in [&without, &with] {
                        let (status, says) = ask(groups, method, from, shown).await;
                        assert_eq!(status, 403, "{from:?} {shown:?}");
                        assert!(says.contains("only this machine"), "{says}");
                    }
                }
                assert_eq!(ask(&without, method, from, Some("Bearer secret")).await.0, 403);
            }
        }
        // Reading is not writing.
        assert_eq!(ask(&with, "PUT", near, None).await.0, 204);
        assert_eq!(ask(&with, "GET", far, None).await, (200, "value".to_owned()));
        without.close().await;
        with.close().await;
    }
}
