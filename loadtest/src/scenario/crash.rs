//! `crash`: SIGKILL under load, restart, and compare what was acknowledged with the history.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use chinwag_schema::{
    ids::ConversationId,
    wire::{
        json::Secret,
        native::{Command, Created, Credentials, SendResult, SendTo, ServerError},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    Target,
    checker::history::{self, Sent},
    client::Client,
    server::Server,
};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// How often to kill
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Clients that post (to one room and to each other)
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Seed of the times of the kills
    #[arg(long)]
    seed: Option<u64>,
}

type Log = Arc<Mutex<Vec<Sent>>>;

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1..=1000).contains(&options.rounds), "--rounds: 1 to 1,000");
    ensure!(
        (2..=200).contains(&options.clients) && options.clients.is_multiple_of(2),
        "--clients: an even number from 2 to 200"
    );
    let seed = options.seed.unwrap_or_else(|| rand::rng().random());
    println!("crash: {} rounds, {} clients, seed {seed}", options.rounds, options.clients);
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir()?;
    let names: Vec<String> = (0..options.clients).map(|n| format!("crash-{n}")).collect();
    let log: Log = Arc::default();
    let mut server = Server::start(&options.target, directory.path(), &["--unlimited"])?;
    let tokens = tokio::task::block_in_place(|| server.tokens(&names))?;
    let mut first = Client::connect(&server.http, Credentials::Token(Secret(tokens[0].clone()))).await?;
    let room: Created = first.request(Command::RoomCreate { name: "Crash room".into() }).await?;
    let room = room.conversation.id;
    let (mut slowest_start, mut unknown) = (Duration::ZERO, 0);
    for round in 1..=options.rounds {
        let mut tasks = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            let client = Client::connect(&server.http, Credentials::Token(Secret(token.clone()))).await?;
            let to = if n % 4 < 2 { SendTo::Conversation(room) } else { SendTo::To(names[n ^ 1].clone()) };
            tasks.push(tokio::spawn(post(client, n, to, log.clone())));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
        enough(&log, options.clients * round as usize).await?;
        let data = server.data().to_owned();
        server.kill()?;
        for task in tasks {
            task.await??;
        }
        server = Server::start(&options.target, &data, &["--unlimited"])?;
        slowest_start = slowest_start.max(server.started_in);
        let sent = log.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?.clone();
        let acknowledged = sent.iter().filter(|sent| sent.acknowledged.is_some()).count();
        unknown = sent.len() - acknowledged;
        check(&server, &tokens, &sent).await.with_context(|| format!("round {round}, seed {seed}"))?;
        println!("  round {round:2}: {acknowledged} acknowledged in all, restart took {:?}", server.started_in);
    }
    println!("  nothing lost, repeated or out of order; {unknown} outcomes unknown; slowest restart {slowest_start:?}");
    Ok(())
}

/// Waits until more than so many messages in all were acknowledged: a slow disk needs longer for them.
async fn enough(log: &Log, least: usize) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let acknowledged = {
            let sent = log.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            sent.iter().filter(|sent| sent.acknowledged.is_some()).count()
        };
        if acknowledged > least {
            return Ok(());
        }
        ensure!(Instant::now() < until, "too few messages were acknowledged to show anything");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends until the server is gone; logs every message with where it was acknowledged, or without that if no answer came.
///
/// # Errors
/// When the server refused a message: that isn't what a crash looks like.
async fn post(mut client: Client, sender: usize, to: SendTo, log: Log) -> anyhow::Result<()> {
    loop {
        let message_id = Uuid::now_v7();
        let content = format!("from {sender}: {message_id}");
        let command = Command::Send { to: to.clone(), message_id, content: content.clone() };
        let done: anyhow::Result<SendResult> = client.request(command).await;
        let mut log = log.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        match done {
            Ok(done) => {
                let (conversation, acknowledged) = (done.conversation, Some(done.seq));
                log.push(Sent { conversation, sender, message_id, content, acknowledged });
            }
            Err(error) if error.downcast_ref::<ServerError>().is_some_and(|error| !error.retryable) => {
                return Err(error.context(format!("client {sender}")));
            }
            Err(_) => {
                let conversation = log.iter().rev().find(|sent| sent.sender == sender).map(|sent| sent.conversation);
                if let Some(conversation) = conversation {
                    log.push(Sent { conversation, sender, message_id, content, acknowledged: None });
                }
                return Ok(());
            }
        }
    }
}

async fn check(server: &Server, tokens: &[String], sent: &[Sent]) -> anyhow::Result<()> {
    let mut checked: Vec<ConversationId> = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        let Some(conversation) = sent.iter().find(|sent| sent.sender == n).map(|sent| sent.conversation) else {
            continue;
        };
        if checked.contains(&conversation) {
            continue;
        }
        checked.push(conversation);
        let mut client = Client::connect(&server.http, Credentials::Token(Secret(token.clone()))).await?;
        let history = client.history(conversation).await?;
        let violations = history::check(conversation, sent, &history);
        if !violations.is_empty() {
            bail!("{} violations in {conversation}: {:?}", violations.len(), &violations[..violations.len().min(5)]);
        }
    }
    Ok(())
}
