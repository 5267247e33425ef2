//! The echo endpoint alone, for conformance suites: `cargo run --example echo [ADDRESS]`, default `127.0.0.1:9600`.

use std::{rc::Rc, sync::Arc};

use actix_web::{App, HttpResponse, web};
use chinwag::{
    net::{self, ListenerKind, Net, NetSettings},
    ws::{Decision, UpgradeRequest, echo},
};

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9600".to_owned());
    let settings = NetSettings {
        max_connections: 10_000,
        max_connections_per_address: 10_000,
        tls: None,
        trusted_proxies: Arc::new([]),
    };
    actix_rt::System::new().block_on(async {
        let bound = net::bind(ListenerKind::Ops, address.parse()?)?;
        println!("ws://{}{}", bound.address, echo::ECHO_PATH);
        let app = |_, _| App::new().default_service(web::to(HttpResponse::NotFound));
        let handle = Net::start(vec![bound], vec![actix_rt::Arbiter::new()], settings, app, |_| {
            let stats = Rc::default();
            Rc::new(move |request: UpgradeRequest| {
                let decision = match request.path() {
                    echo::ECHO_PATH => Decision::Accept(echo::accept(request.deflate, Rc::clone(&stats))),
                    _ => Decision::Pass,
                };
                Box::pin(std::future::ready(decision))
            })
        })?;
        tokio::signal::ctrl_c().await?;
        handle.stop();
        Ok(())
    })
}
