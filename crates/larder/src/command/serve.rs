//! `larder serve`

use larder_server::config::Layers;
use larder_server::{Server, interruption, logs};

use crate::args::Serve;
use crate::failure::{Failure, note, reason};
use crate::output::line;

pub(crate) async fn run(serve: Serve) -> Result<(), Failure> {
    let mut layers = Layers::default().with_file(serve.config).with_process_environment();
    if !serve.listen.is_empty() {
        layers = layers.with_flag("listen", "--listen", serve.listen.join(","));
    }
    if let Some(url) = serve.upstream {
        layers = layers.with_flag("upstream.url", "--upstream", url);
    }
    let config = layers.read().map_err(|mistakes| Failure::Usage(mistakes.to_string()))?;
    logs::start(&config.log);
    // Before anyone can know that the server is there: a signal from now on stops it cleanly.
    let interruption = interruption().map_err(|error| reason(format!("cannot start: {error}")))?;
    let server = Server::build(config).await.map_err(|error| Failure::Usage(error.to_string()))?;
    // It is there to serve: that nobody reads what it prints is no reason to stop.
    if greet(&server).is_err() {
        note("cannot write to standard output; serving all the same");
    }
    server.run(interruption).await;
    Ok(())
}

fn greet(server: &Server) -> Result<(), Failure> {
    let addresses = server.addresses();
    for address in &addresses {
        line(&format!("listening on http://{address}"))?;
    }
    if let Some(address) = addresses.first() {
        let body = r#"'{"ip":"127.0.0.1","port":8080}'"#;
        let register = format!("http://{address}/larder/v1/services/hello/instances/1");
        line(&format!("try: curl -X PUT {register} -d {body}"))?;
        line(&format!("     curl -H 'Accept: application/json' http://{address}/eureka/apps"))?;
    }
    Ok(())
}
