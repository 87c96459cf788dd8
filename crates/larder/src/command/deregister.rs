//! `larder deregister SERVICE ID`

use reqwest::Method;

use crate::args::Deregister;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{json, line};

pub(crate) async fn run(deregister: Deregister) -> Result<(), Failure> {
    let Deregister { service, id, ask } = deregister;
    let path = format!("services/{}/instances/{}", segment(&service), segment(&id));
    Client::new(&ask)?.tell(Method::DELETE, &path).await?;
    if ask.json {
        return json(&serde_json::json!({ "deregistered": { "service": service, "id": id } }));
    }
    line(&format!("deregistered {service}/{id}"))
}
