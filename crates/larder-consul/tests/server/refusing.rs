//! What a real agent refuses, and what comes close: Larder's answers beside its own.

use axum::body::Body;
use axum::http::Request;

use super::support::Stand;

const RECORDED: &str = include_str!("../goldens/refusals.tsv");

/// Where Larder answers otherwise: the status, and what is in the text.
const OTHERWISE: [(&str, u16, &str); 25] = [
    // As Consul's documentation writes it.
    ("health/service-redis~cached-no-comma", 200, ""),
    // What the client got wrong is no fault of the server.
    ("kv/put~bad-cas", 400, "Invalid cas value"),
    ("kv/put~bad-flags", 400, "Invalid flags value"),
    ("catalog/register-no-address", 400, "Must provide address if SkipNodeUpdate is not set"),
    ("catalog/deregister-no-node", 400, "Must provide node"),
    ("errors/catalog-register-empty", 400, "Must provide node"),
    (
        "errors/filter-bad",
        400,
        "Failed to create boolean expression evaluator: 1:1 (0): no match found",
    ),
    ("errors/filter-unknown-selector", 400, "Selector \"Nope\" is not valid"),
    // What is not known is skipped, and what nobody here can run says nothing good.
    ("errors/register-unknown-field", 200, ""),
    ("errors/register-check-id-snake", 200, ""),
    ("errors/register-check-script", 200, ""),
    // Go's words for its own decoder.
    ("errors/update-empty", 400, "Request decode failed: EOF while parsing"),
    ("errors/register-not-json", 400, "Request decode failed: EOF while parsing"),
    ("errors/register-empty", 400, "Request decode failed: EOF while parsing"),
    ("errors/register-port-text", 400, "Request decode failed: Port: expected a number"),
    ("errors/register-check-bad-ttl", 400, "Request decode failed: Check.TTL: expected a duration"),
    ("coordinate/node-nosuch", 404, "Larder keeps no coordinates of nodes"),
    // A key is taken as it is written.
    ("kv/put-keys~leading-slash", 200, "true"),
    ("errors/path-double-slash", 404, "not a recognized HTTP API endpoint"),
    // Parameters are read on every endpoint.
    ("errors/namespace-nodes", 400, "Namespaces are a Consul Enterprise feature"),
    // No cluster exports anything to this one.
    ("errors/peer-and-sg", 200, ""),
    ("errors/agent-health-id-no-name", 404, ""),
    ("errors/agent-health-name-no-name", 404, ""),
    ("errors/state-unknown", 404, "not a recognized HTTP API endpoint"),
    ("errors/method-head", 200, ""),
];

struct Golden {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    cache_control: &'static str,
    body: &'static str,
    status: u16,
    allow: &'static str,
    text: &'static str,
}

fn recorded() -> Vec<Golden> {
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let goldens = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, method, path, cache_control, body, status, allow, text] = fields[..] else {
            panic!("eight fields: {line}");
        };
        let status = status.parse().expect("a status");
        Golden { name, method, path, cache_control, body, status, allow, text }
    });
    goldens.collect()
}

/// What the recorded agent had.
async fn furnished() -> Stand {
    let stand = Stand::new();
    for body in [
        r#"{"ID":"redis1","Name":"redis","Tags":["primary","v1"],"Check":{"TTL":"90s"}}"#,
        r#"{"ID":"redis2","Name":"redis","Checks":[{"TTL":"90s"},
            {"HTTP":"http://127.0.0.1:1/health","Interval":"10s"}]}"#,
    ] {
        stand.register(body).await;
    }
    let mem = r#"{"ID":"mem","Name":"Memory","TTL":"90s","ServiceID":"redis1"}"#;
    stand.put("/v1/agent/check/register", mem).await;
    stand
}

#[tokio::test]
async fn what_consul_refuses_is_refused_in_its_words() {
    let mut wrong = Vec::new();
    for golden in recorded() {
        let stand = furnished().await;
        let request = Request::builder().method(golden.method).uri(golden.path);
        let request = match golden.cache_control {
            "" => request,
            said => request.header("Cache-Control", said),
        };
        let told = stand.send(request.body(Body::from(golden.body)).expect("a request")).await;
        let text = if told.status == 200 && golden.status == 200 { "" } else { told.text().trim() };
        let otherwise = OTHERWISE.iter().find(|(name, ..)| *name == golden.name);
        let (status, says) =
            otherwise.map_or((golden.status, golden.text), |(_, status, says)| (*status, *says));
        let is_it =
            told.status == status && (text == says || otherwise.is_some() && text.contains(says));
        let allow = told.header("Allow").unwrap_or_default();
        if !is_it || (otherwise.is_none() && allow != golden.allow) {
            let Golden { name, status, text: words, allow: may, .. } = golden;
            let short: String = text.chars().take(200).collect();
            wrong.push(format!(
                "{name}: {} {short:?} {allow}; Consul: {status} {words:?} {may}",
                told.status
            ));
            continue;
        }
        if otherwise.is_some() && (told.status, text) == (golden.status, golden.text) {
            wrong.push(format!("{}: is the same after all", golden.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
