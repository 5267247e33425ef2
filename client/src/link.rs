//! One socket: connected, greeted, read and written. It doesn't reconnect.

use std::{collections::BTreeMap, time::Duration};

use chinwag_schema::{
    error::ErrorCode,
    ids::ConversationId,
    model::Position,
    wire::native::{Request, SUBPROTOCOL, ServerError, ServerFrame, Welcome},
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest as _,
        error::ProtocolError,
        http::HeaderValue,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    error::Error,
    reconnect::LOST,
    server::{Server, Trust},
};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest frame of a server that is read: pages of the history have a quarter of that at most.
const FRAME_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Said to the server when it goes quiet; the server pings every 30 s, which counts.
const QUIET: Duration = Duration::from_secs(40);

/// A welcomed socket.
pub(crate) struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// When it counts as dead if nothing comes.
    dead_at: Instant,
}

/// Why there is no link, or no link any more.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) code: u16,
    /// For people.
    pub(crate) why: String,
    /// A hello that was refused for good, though not for its token.
    pub(crate) refused: Option<ServerError>,
}

impl Down {
    fn new(code: u16, why: impl Into<String>) -> Self {
        Self { code, why: why.into(), refused: None }
    }
}

/// What a greeting gives.
pub(crate) struct Greeted {
    pub(crate) link: Link,
    pub(crate) welcome: Welcome,
    /// Positions that the hello had no room for.
    pub(crate) unsaid: Vec<BTreeMap<ConversationId, Position>>,
}

impl Link {
    /// Connects and says hello.
    pub(crate) async fn open(
        server: Server,
        trust: Trust,
        hello: Request,
        unsaid: Vec<BTreeMap<ConversationId, Position>>,
    ) -> Result<Greeted, Down> {
        let greeting = Self::greet(&server, trust, &hello);
        let (link, welcome) =
            timeout(OPEN_TIMEOUT, greeting).await.map_err(|_| Down::new(LOST, "no answer within 10 s"))??;
        Ok(Greeted { link, welcome, unsaid })
    }

    async fn greet(server: &Server, trust: Trust, hello: &Request) -> Result<(Self, Welcome), Down> {
        let lost = |error: WsError| Down::new(LOST, explain(&error));
        let mut request = server.socket().into_client_request().map_err(lost)?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(FRAME_MAX_BYTES);
        config.max_frame_size = Some(FRAME_MAX_BYTES);
        let connector = Some(Connector::Rustls(trust.rustls));
        let (socket, _) = connect_async_tls_with_config(request, Some(config), true, connector).await.map_err(lost)?;
        let mut link = Self { socket, dead_at: Instant::now() + QUIET };
        link.send(std::iter::once(hello)).await?;
        loop {
            match link.next().await? {
                ServerFrame::Reply { id, outcome } if id.as_ref() == Some(&hello.id) => match outcome {
                    Ok(result) => {
                        let welcome = ServerFrame::result(&result);
                        let welcome =
                            welcome.map_err(|error| Down::new(LOST, Error::Strange(error.to_string()).to_string()))?;
                        return Ok((link, welcome));
                    }
                    Err(error) => return Err(refused(error)),
                },
                // Events can't come before the welcome; what isn't for us is passed over.
                _ => {}
            }
        }
    }

    /// Writes requests.
    pub(crate) async fn send(&mut self, requests: impl Iterator<Item = &Request>) -> Result<(), Down> {
        let write = async {
            for request in requests {
                let text = String::from_utf8(request.encode()).expect("JSON is UTF-8");
                self.socket.feed(Message::text(text)).await?;
            }
            self.socket.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Down::new(LOST, explain(&error))),
            Err(_) => Err(Down::new(4002, "the server takes nothing")),
        }
    }

    /// Waits for the next frame. Can be cancelled: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, Down> {
        loop {
            let message = match tokio::time::timeout_at(self.dead_at, self.socket.next()).await {
                // At once, with positions: the server closes so whom it hears nothing of.
                Err(_) => return Err(Down::new(4002, "the server is silent")),
                Ok(None) => return Err(Down::new(LOST, "the connection was lost")),
                Ok(Some(Err(error))) => return Err(Down::new(LOST, explain(&error))),
                Ok(Some(Ok(message))) => message,
            };
            // Pings are answered by the socket itself, when it is read next.
            self.dead_at = Instant::now() + QUIET;
            match message {
                Message::Text(text) => match ServerFrame::decode(&text) {
                    Ok(frame) => return Ok(frame),
                    Err(error) => return Err(Down::new(LOST, Error::Strange(error.to_string()).to_string())),
                },
                Message::Close(frame) => {
                    let code = frame.as_ref().map_or(LOST, |frame| frame.code.into());
                    let why = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                    return Err(Down::new(code, why.unwrap_or_else(|| format!("closed by the server ({code})"))));
                }
                _ => {}
            }
        }
    }

    /// The program didn't let us read for a while: the server's silence begins now.
    pub(crate) fn paused(&mut self) {
        self.dead_at = Instant::now() + QUIET;
    }

    /// Closes; waits a second at most.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = timeout(Duration::from_secs(1), self.socket.close(Some(frame))).await;
    }
}

/// What a refused hello means: the close that follows says the same, if it comes.
fn refused(error: ServerError) -> Down {
    let code = match error.code {
        ErrorCode::Unauthorized => 4200,
        ErrorCode::UnsupportedVersion => 4203,
        ErrorCode::Draining => 1001,
        _ => 1011,
    };
    Down { code, why: error.message.clone(), refused: (!error.retryable).then_some(error) }
}

fn explain(error: &WsError) -> String {
    match error {
        WsError::Io(error) => error.to_string(),
        WsError::Http(response) => format!("the server answered {}", response.status()),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) | WsError::ConnectionClosed => {
            "the connection was lost".into()
        }
        error => error.to_string(),
    }
}
