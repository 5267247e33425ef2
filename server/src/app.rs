//! Which application a listener serves.

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    web::Data,
};

use crate::{
    http::{self, HttpState},
    net::ListenerKind,
    ops::{self, OpsState},
};

/// Makes the application of a listener: accounts, page and documents on `http`, operations on `ops`, accounts alone on the others.
pub fn for_listener(
    kind: ListenerKind,
    http_state: Data<HttpState>,
    ops_state: Data<OpsState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    http::bare(http_state, move |config| match kind {
        ListenerKind::Http => {
            http::routes(config);
            http::page::routes(config);
            http::docs::routes(config);
        }
        ListenerKind::Messenger | ListenerKind::Presence => http::routes(config),
        ListenerKind::Ops => ops::routes(config, ops_state),
    })
}
