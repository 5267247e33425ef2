//! A bot that says in a room what others say there: `echo http://127.0.0.1:3000 lobby`.

use chinwag_client::{Client, Config, Connection, Event, Login, Trust, wire::LoggedKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(room)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo SERVER ROOM".into());
    };
    let config = Config::new(server.parse()?, Trust::new(None)?, Login::Guest("echo".into()));
    let (client, mut events) = Client::connect(config);
    // Listens again by itself after a lost connection, and hears what was said meanwhile.
    let room = client.listen(&room).await?;
    while let Some(event) = events.recv().await {
        match event {
            Event::Logged { event, own: false } if event.event == LoggedKind::Message && event.conversation == room => {
                let content = event.content.as_deref().unwrap_or_default();
                client.send(room, &format!("{} says: {content}", event.sender.name))?;
            }
            Event::Failed { message_id, error } => {
                eprintln!("not sent: {error}");
                client.discard(message_id);
            }
            Event::Connection(Connection::Ended(reason)) => return Err(reason.into()),
            _ => {}
        }
    }
    Ok(())
}
