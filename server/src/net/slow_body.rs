//! Cuts requests whose body comes too slowly.
//!
//! actix-http limits the time of a request's head only; a body that never ends would hold its handler for ever.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, Payload, Request, error::PayloadError};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

/// A body must be complete within this time of the request's head.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

struct Limited {
    payload: Payload,
    deadline: Pin<Box<Sleep>>,
}

impl Stream for Limited {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(chunk) = Pin::new(&mut self.payload).poll_next(cx) {
            return Poll::Ready(chunk);
        }
        self.deadline.as_mut().poll(cx).map(|()| Some(Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into()))))
    }
}

/// Limits the time of a request's body, if it has one.
pub fn limited(mut request: Request) -> Request {
    match request.take_payload() {
        Payload::None => request,
        payload => {
            let deadline = Box::pin(tokio::time::sleep(BODY_TIMEOUT));
            let payload: BoxedPayloadStream = Box::pin(Limited { payload, deadline });
            request.replace_payload(Payload::Stream { payload }).0
        }
    }
}
