//! `POST /admin/notification`: an operator's broadcast to everybody who is connected, on all nodes.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data, Payload, ServiceConfig},
};
use chinwag_schema::{
    envelope::Body,
    error::{ClientError, ErrorCode},
    names,
};
use serde_json::json;

use super::{
    OpsState,
    actions::{audited, notify as notify_all},
};
use crate::http::{ApiError, body::Fields};

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/notification", web::post().to(notify));
}

async fn notify(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    if request.headers().contains_key(header::ORIGIN) {
        // Without a token, any page in a browser on this machine could pass for the operator.
        return Err(ClientError::new(ErrorCode::Forbidden, "not for pages in a browser").into());
    }
    let fields = Fields::read(&request, payload).await?;
    let message = fields.required("message")?;
    names::content(message).map_err(|bad| ClientError::new(ErrorCode::BadRequest, bad.to_string()).field("message"))?;
    let body = Body::Notification { message: message.to_owned() };
    let node = state.node.clone();
    audited(&state, &request, "broadcast", "everybody", async move { notify_all(&node, body) }).await?;
    Ok(HttpResponse::Accepted().json(json!({ "message": "Notification sent" })))
}
