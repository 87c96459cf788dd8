//! Which operation a path names.
//!
//! Pure. Clients disagree about the prefix (`/eureka/v2`, `/eureka`, `/v2`), about the slash at the
//! end, and double slashes where a base URL ends in one; here all of that is one thing. Segments are
//! percent-decoded one by one, so that an id may hold a slash.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::wire::ApiVersion;

/// What a path names. Names and ids are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `apps`
    Apps,
    /// `apps/delta`; the literal word wins over an application of that name, as in Eureka.
    Delta,
    /// `apps/{app}`
    App(String),
    /// `apps/{app}/{id}`
    Instance(String, String),
    /// `apps/{app}/{id}/status`
    Status(String, String),
    /// `apps/{app}/{id}/metadata`
    Metadata(String, String),
    /// `instances/{id}`
    InstanceById(String),
    /// `vips/{vip}`
    Vip(String),
    /// `svips/{vip}`
    SecureVip(String),
    /// `peerreplication/batch`
    Batch,
    /// `status`: the server's own.
    Server,
    /// `serverinfo/statusoverrides`
    Overrides,
    /// `asg/{asg}/status`
    AutoScalingGroup,
}

/// Why a path names no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing at this path.
    Unknown,
    /// A percent-encoded segment is not UTF-8.
    NotUtf8,
}

/// The words that an operation's path can begin with.
const RESOURCES: [&str; 8] =
    ["apps", "instances", "vips", "svips", "peerreplication", "status", "asg", "serverinfo"];

/// Reads a path such as `/eureka/v2/apps/ORDERS/host%3Aorders%3A8080`.
pub fn parse(path: &str) -> Result<(ApiVersion, Route), Refusal> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (version, resource) = strip_prefix(&segments).ok_or(Refusal::Unknown)?;
    Ok((version, route(resource)?))
}

/// Takes off `eureka/v2`, `eureka/v1`, `eureka/{any version}`, `eureka`, `v2` or `v1`.
fn strip_prefix<'a>(segments: &'a [&'a str]) -> Option<(ApiVersion, &'a [&'a str])> {
    let is_resource = |segment: &&str| RESOURCES.contains(segment);
    match segments {
        ["eureka", rest @ ..] if rest.first().is_some_and(is_resource) => {
            Some((ApiVersion::V2, rest))
        }
        ["eureka", version, rest @ ..] => Some((version_of(version), rest)),
        [version, rest @ ..] if matches!(*version, "v1" | "V1" | "v2" | "V2") => {
            Some((version_of(version), rest))
        }
        // The one operation without a version.
        ["serverinfo", ..] => Some((ApiVersion::V2, segments)),
        _ => None,
    }
}

/// Eureka: only `v1`, in either case, means the first version.
fn version_of(segment: &str) -> ApiVersion {
    if segment.eq_ignore_ascii_case("v1") { ApiVersion::V1 } else { ApiVersion::V2 }
}

fn route(segments: &[&str]) -> Result<Route, Refusal> {
    match segments {
        ["apps"] => Ok(Route::Apps),
        ["apps", "delta"] => Ok(Route::Delta),
        ["apps", app] => Ok(Route::App(decode(app)?)),
        ["apps", app, id] => Ok(Route::Instance(decode(app)?, decode(id)?)),
        ["apps", app, id, "status"] => Ok(Route::Status(decode(app)?, decode(id)?)),
        ["apps", app, id, "metadata"] => Ok(Route::Metadata(decode(app)?, decode(id)?)),
        ["instances", id] => Ok(Route::InstanceById(decode(id)?)),
        ["vips", vip] => Ok(Route::Vip(decode(vip)?)),
        ["svips", vip] => Ok(Route::SecureVip(decode(vip)?)),
        ["peerreplication", "batch"] => Ok(Route::Batch),
        ["status"] => Ok(Route::Server),
        ["serverinfo", "statusoverrides"] => Ok(Route::Overrides),
        ["asg", _, "status"] => Ok(Route::AutoScalingGroup),
        _ => Err(Refusal::Unknown),
    }
}

fn decode(segment: &str) -> Result<String, Refusal> {
    percent_decode_str(segment)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_not_utf8| Refusal::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route_of(path: &str) -> Route {
        parse(path).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}")).1
    }

    #[test]
    fn every_prefix_of_every_deployment_leads_to_the_same_operation() {
        for prefix in ["/eureka", "/eureka/v2", "/eureka/v1", "/v2", "/v1", "/eureka/anything"] {
            assert_eq!(route_of(&format!("{prefix}/apps")), Route::Apps, "{prefix}");
            let path = format!("{prefix}/apps/A/i");
            assert_eq!(route_of(&path), Route::Instance("A".into(), "i".into()), "{prefix}");
        }
    }

    #[test]
    fn only_v1_means_the_first_version() {
        for (path, version) in [
            ("/eureka/v1/apps", ApiVersion::V1),
            ("/eureka/V1/apps", ApiVersion::V1),
            ("/v1/apps", ApiVersion::V1),
            ("/eureka/v2/apps", ApiVersion::V2),
            ("/eureka/v3/apps", ApiVersion::V2),
            ("/eureka/apps", ApiVersion::V2),
        ] {
            assert_eq!(parse(path).map(|(version, _)| version), Ok(version), "{path}");
        }
    }

    #[test]
    fn slashes_at_the_end_and_double_slashes_do_not_matter() {
        for path in ["/eureka/apps/", "/eureka//apps", "//eureka/v2//apps//"] {
            assert_eq!(route_of(path), Route::Apps, "{path}");
        }
        assert_eq!(route_of("/eureka/apps/delta/"), Route::Delta);
    }

    #[test]
    fn ids_are_decoded_segment_by_segment() {
        let id = |id: &str| Route::Instance("A".into(), id.into());
        assert_eq!(route_of("/eureka/apps/A/host%3Aa%3A8080"), id("host:a:8080"));
        assert_eq!(route_of("/eureka/apps/A/a%2Fb"), id("a/b"));
        assert_eq!(route_of("/eureka/apps/A/100%25"), id("100%"));
        assert_eq!(route_of("/eureka/apps/A/%F0%9F%8D%9E"), id("🍞"));
        assert_eq!(parse("/eureka/apps/A/%FF"), Err(Refusal::NotUtf8));
    }

    #[test]
    fn the_word_delta_wins_over_an_application_of_that_name() {
        assert_eq!(route_of("/eureka/apps/delta"), Route::Delta);
        assert_eq!(route_of("/eureka/apps/DELTA"), Route::App("DELTA".into()));
        assert_eq!(route_of("/eureka/apps/delta/i"), Route::Instance("delta".into(), "i".into()));
    }

    #[test]
    fn servers_talk_to_each_other_and_about_themselves_at_paths_of_their_own() {
        for prefix in ["/eureka", "/eureka/v2", "/v2"] {
            assert_eq!(route_of(&format!("{prefix}/peerreplication/batch/")), Route::Batch);
            assert_eq!(route_of(&format!("{prefix}/status")), Route::Server);
            assert_eq!(route_of(&format!("{prefix}/asg/a/status")), Route::AutoScalingGroup);
        }
        for path in ["/serverinfo/statusoverrides", "/eureka/serverinfo/statusoverrides"] {
            assert_eq!(route_of(path), Route::Overrides);
        }
        let metadata = Route::Metadata("A".into(), "i".into());
        assert_eq!(route_of("/eureka/apps/A/i/metadata"), metadata);
    }

    #[test]
    fn what_is_not_eurekas_is_unknown() {
        for path in [
            "/",
            "/apps",
            "/v1/kv/a",
            "/v1/catalog/services",
            "/v1/status/leader",
            "/eureka",
            "/eureka/v2",
        ] {
            assert_eq!(parse(path), Err(Refusal::Unknown), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_id_comes_back_from_its_encoding(app in "\\PC{1,12}", id in "\\PC{1,12}") {
            prop_assume!(app != "delta");
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            };
            let path = format!("/eureka/apps/{}/{}", encode(&app), encode(&id));
            prop_assert_eq!(parse(&path).map(|(_, route)| route), Ok(Route::Instance(app, id)));
        }

        #[test]
        fn any_path_is_read_or_refused(path in "\\PC{0,40}") {
            let _ = parse(&path);
        }
    }
}
