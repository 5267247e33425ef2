//! Reads the histories of a run's conversations over native sockets of their readers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use chinwag_schema::{
    ids::ConversationId,
    wire::{
        json::Secret,
        native::{Command, Created, Credentials, LoggedKind},
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{
    compare::{History, Key},
    history::Sequence,
    ledger::Place,
};
use crate::{
    client::Client,
    content::Mark,
    peer::{Login, To},
    run::Run,
};

/// Readers at work at a time.
const READERS: usize = 8;

/// Reads the history of each place and gives the run's messages in it to `each`, one place after another. All that is kept of a history is
/// 16 bytes per message of the run.
pub async fn histories(run: &Run, places: Vec<Arc<Place>>, each: impl FnMut(&Place, History)) -> anyhow::Result<()> {
    // One socket per reader.
    let mut readers: HashMap<Login, Vec<Arc<Place>>> = HashMap::new();
    for place in places {
        readers.entry(place.reader.clone()).or_default().push(place);
    }
    let each = Mutex::new(each);
    futures_util::stream::iter(readers.into_iter().enumerate())
        .map(|(index, (reader, places))| read(run, index, reader, places, &each))
        .buffer_unordered(READERS)
        .try_collect::<()>()
        .await
}

async fn read(
    run: &Run,
    index: usize,
    reader: Login,
    places: Vec<Arc<Place>>,
    each: &Mutex<impl FnMut(&Place, History)>,
) -> anyhow::Result<()> {
    let address = &run.node(index).http;
    let credentials = match reader.token {
        Some(token) => Credentials::Token(Secret(token)),
        None => Credentials::Guest(reader.name.clone()),
    };
    let connected = Client::connect(address, credentials).await;
    let mut client = connected.with_context(|| format!("can't connect {} to read histories", reader.name))?;
    for place in places {
        let history = history(&mut client, run.id, &place.to);
        let history = history.await.with_context(|| format!("can't read the history of the {}", place.name()))?;
        (each.lock().unwrap_or_else(PoisonError::into_inner))(&place, history);
    }
    Ok(())
}

async fn history(client: &mut Client, run: u32, to: &To) -> anyhow::Result<History> {
    let conversation = match to {
        To::Place(place) => ConversationId(i64::try_from(place.id).context("no place has so large an id")?),
        // Makes an empty one if no message ever arrived: then the history is as empty as it was.
        To::User(name) => {
            let chat: Created = client.request(Command::ChatOpen { with: name.clone() }).await?;
            chat.conversation.id
        }
    };
    let (mut history, mut sequence) = (History::default(), Sequence::default());
    client
        .each_event(conversation, |event| {
            history.holes.extend(sequence.hole_before(event.seq).map(|after| (after, event.seq)));
            let content = event.content.filter(|_| event.event == LoggedKind::Message);
            let mark = content.and_then(|content| Mark::find(content.as_bytes()));
            history.messages.extend(mark.filter(|mark| mark.run == run).map(|mark| (Key::of(&mark), event.seq)));
        })
        .await?;
    Ok(history)
}
