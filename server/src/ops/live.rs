//! `/admin/live`: the same as `/admin/actors`, pushed once a second over a WebSocket.
//!
//! The honest place of actix-web-actors (deprecated upstream, pinned): few, trusted sockets that read what little they get
//! (`ops/decisions/session-sockets-outside-actix-web-actors.md`).

use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, AsyncContext, StreamHandler};
use actix_web::{
    Error, HttpRequest, HttpResponse,
    web::{self, Data, Payload, ServiceConfig},
};
use actix_web_actors::ws;
use serde_json::json;

use super::{OpsState, admin::summary};

/// How often the counters are sent, and how long a watcher may be silent.
const EVERY: Duration = Duration::from_secs(1);
const SILENT_MAX: Duration = Duration::from_secs(30);

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/live", web::get().to(live));
}

async fn live(state: Data<OpsState>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    ws::start(Feed { state, heard: Instant::now() }, &request, payload)
}

/// One watcher.
struct Feed {
    state: Data<OpsState>,
    heard: Instant,
}

impl Actor for Feed {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.send(context);
        context.run_interval(EVERY, |feed, context| {
            if feed.heard.elapsed() > SILENT_MAX {
                return context.stop();
            }
            context.ping(b"");
            feed.send(context);
        });
    }
}

impl Feed {
    fn send(&self, context: &mut ws::WebsocketContext<Self>) {
        let node = &self.state.node;
        let kinds: Vec<_> = node.runtime.metrics().kinds().iter().map(|kind| summary(&kind.snapshot())).collect();
        context.text(json!({"at_ms": node.runtime.unix_ms(), "kinds": kinds}).to_string());
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Feed {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, context: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Ping(payload)) => context.pong(&payload),
            Ok(ws::Message::Pong(_) | ws::Message::Text(_) | ws::Message::Binary(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                context.close(reason);
                context.stop();
            }
            Ok(ws::Message::Continuation(_)) | Err(_) => context.stop(),
        }
    }
}
