//! `storm`: many users lose their connection at the same moment, come back within a few seconds, and resume where they were, while others
//! go on. The ledger shows that nobody missed anything.

mod listener;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use crate::{
    checker::ledger::PlaceId,
    peer::{Peer, Place, Protocol, To},
    report::model::Figure,
    run::{
        Run,
        pace::{Arrivals, Pace},
    },
    scenario::{
        crowd,
        line::{PeerPoster, Poster as _},
        stage::{Stage, conduct},
    },
    target::Common,
};
use listener::{Listener, News, Scene};

/// Nothing more is expected after so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of text.
const BYTES: usize = 100;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Users who are cut, each a guest with a socket of its own (10 to 19,000)
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    /// Users who aren't cut: what they notice of the others is measured (1 to 1,000)
    #[arg(long, default_value_t = 100)]
    control: usize,
    /// Rooms that all are spread over (1 to 1,000)
    #[arg(long, default_value_t = 20)]
    rooms: usize,
    /// Messages per second, of all rooms together (1 to 1,000)
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds within which those who were cut come back, each at a moment of its own (0 to 60)
    #[arg(long, default_value_t = 5)]
    within: u64,
    /// Seconds of writing before they are cut, and when all are back (1 to 600)
    #[arg(long, default_value_t = 5)]
    around: u64,
}

/// A room under check.
#[derive(Clone)]
struct Room {
    place: Place,
    id: PlaceId,
    /// The room's index; also the number of its sender.
    number: usize,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((10..=19_000).contains(&options.connections), "--connections: 10 to 19,000");
    ensure!((1..=1000).contains(&options.control), "--control: 1 to 1,000");
    ensure!((1..=1000).contains(&options.rooms), "--rooms: 1 to 1,000");
    ensure!((1.0..=1000.0).contains(&options.rate), "--rate: 1 to 1,000");
    ensure!(options.within <= 60, "--within: 0 to 60");
    ensure!((1..=600).contains(&options.around), "--around: 1 to 600");
    let native = options.common.protocol == Protocol::Native;
    ensure!(native, "--protocol: storm needs native, the only one in which users resume where they were");
    conduct("storm", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    let (run, users) = (&stage.run, options.connections + options.control);
    stage.check_sockets(users + 1)?;
    let scene = Arc::new(Scene::new(run.clone(), Duration::from_secs(options.within))?);
    stage.phase("joining");
    let (writer, rooms) = make_rooms(stage, options.rooms).await?;
    let (news, listen) = watch::channel(News::default());
    let mut listening = JoinSet::new();
    stage.aim(users as u64, "connections");
    let connect = |_, index, login| Listener::connect(scene.clone(), index, login, rooms[index % rooms.len()].clone());
    let listeners = crowd::gather(stage, 0, stage.guests("storm", users), crowd::AT_ONCE, connect).await?;
    for (index, listener) in listeners.into_iter().enumerate() {
        listening.spawn(listener.listen(index >= options.control, listen.clone()));
    }
    let (stop, stopped) = watch::channel(());
    let writing = tokio::spawn(write(run.clone(), writer, rooms, options.rate, stopped));

    stage.phase("before");
    let around = Duration::from_secs(options.around);
    ensure!(run.sleep(around).await, "stopped before the storm");
    stage.phase("storm");
    let (begun, cpu) = (Instant::now(), stage.cpu_s()?);
    scene.stormy.store(true, Relaxed);
    news.send_modify(|news| news.cut = true);
    all_back(stage, &scene, options.connections, &mut listening).await?;
    let (took, used) = (begun.elapsed().as_secs_f64(), stage.cpu_s()? - cpu);
    scene.stormy.store(false, Relaxed);
    stage.phase("after");
    ensure!(run.sleep(around).await, "stopped after the storm");
    drop(stop);
    let last = writing.await.context("the writer's task ended")??;
    news.send_modify(|news| news.last = Some(Arc::new(last)));
    while let Some(listener) = listening.join_next().await {
        listener.context("a listener's task ended")??;
    }

    let (storm, calm) = scene.p99_ms();
    stage.figure(Figure::new("until all are back", "s", took));
    stage.figure(Figure::new("refused on the way back", "attempts", scene.refused.load(Relaxed) as f64));
    stage.figure(Figure::new("CPU of the storm", "s", used));
    stage.figure(Figure::new("CPU per user back", "us", used * 1e6 / options.connections as f64));
    stage.figure(Figure::new("p99 of those not cut", "ms", storm).beside("before and after", calm));
    Ok(())
}

/// Makes the rooms, and who writes to all of them.
async fn make_rooms(stage: &Stage, count: usize) -> anyhow::Result<(PeerPoster, Vec<Room>)> {
    let run = &stage.run;
    let login = stage.users("storm-writer", 1).await?.pop().context("no writer")?;
    let mut peer = Peer::connect(run, 0, &login).await.context("the writer can't connect")?;
    let mut rooms = Vec::with_capacity(count);
    for number in 0..count {
        let place = peer.make_place(&format!("Storm {number}")).await?;
        let id = run.ledger.place(To::Place(place.clone()), login.clone(), peer.hears_itself());
        rooms.push(Room { place, id, number });
    }
    let first = rooms.first().context("no room")?;
    let (to, place) = (To::Place(first.place.clone()), first.id);
    Ok((PeerPoster { run: run.clone(), peer, to, place, bytes: BYTES }, rooms))
}

/// Writes to the rooms in turn until `stopped`; returns the number of each room's last message, when all are acknowledged. Fails if nothing is
/// acknowledged for [`PATIENCE`] then.
async fn write(
    run: Arc<Run>,
    mut writer: PeerPoster,
    rooms: Vec<Room>,
    rate: f64,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<Vec<u32>> {
    let mut posted = vec![0; rooms.len()];
    let mut pace = Pace::new(rate, Arrivals::Even, Instant::now(), run.seed);
    let (mut unacknowledged, mut stop) = (0_u32, false);
    for room in rooms.iter().cycle() {
        let due = pace.due();
        while !stop || unacknowledged > 0 {
            tokio::select! {
                mark = writer.acknowledged() => {
                    mark?;
                    unacknowledged -= 1;
                }
                () = sleep_until(due.into()), if !stop => break,
                _ = stopped.changed(), if !stop => stop = true,
                () = sleep(PATIENCE), if stop => bail!("{unacknowledged} messages were never acknowledged"),
            }
        }
        if stop {
            break;
        }
        posted[room.number] += 1;
        unacknowledged += 1;
        (writer.to, writer.place) = (To::Place(room.place.clone()), room.id);
        writer.post(&run.mark(u32::try_from(room.number)?, posted[room.number], due)).await?;
    }
    Ok(posted)
}

/// Waits until all who were cut are back.
async fn all_back(
    stage: &Stage,
    scene: &Scene,
    cut: usize,
    listening: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    stage.aim(cut as u64, "users back");
    loop {
        let back = scene.back.load(Relaxed);
        stage.progress(back);
        if back == cut as u64 {
            return Ok(());
        }
        // None ends by itself before the last message.
        if let Some(ended) = listening.try_join_next() {
            ended.context("a listener's task ended")??;
        }
        ensure!(stage.run.sleep(LOOK_EVERY).await, "stopped when {back} of {cut} were back");
    }
}
