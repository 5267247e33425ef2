//! Sends one message to a user and waits until it is stored: `send http://127.0.0.1:3000 ann bob 'hello' < password`.
//!
//! The outbox is on the disk: if the server is away, the next run sends what this one could not.

use std::{io, path::Path, time::Duration};

use chinwag_client::{Account, Client, Config, Login, Outbox, Trust};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name| arguments.next().ok_or(format!("usage: send SERVER FROM TO TEXT, without {name}"));
    let (server, from, to, text) = (next("SERVER")?.parse()?, next("FROM")?, next("TO")?, next("TEXT")?);
    let mut password = String::new();
    io::stdin().read_line(&mut password)?;

    let trust = Trust::new(None)?;
    let account = Account::login(&server, &trust, &from, password.trim_end_matches(['\r', '\n'])).await?;
    let mut config = Config::new(server, trust, Login::Account(account));
    config.outbox = Outbox::open(Path::new("outbox"))?;
    // Nobody reads the events: the receiver may go.
    let (client, _) = Client::connect(config);
    client.send(&*to, &text)?;
    client.flushed(Duration::from_secs(30)).await?;
    client.view(|model| {
        for item in model.outbox().iter() {
            eprintln!("not sent: {} ({:?})", item.content, item.state);
        }
    });
    client.close().await;
    Ok(())
}
