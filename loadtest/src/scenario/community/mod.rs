//! A community for `mix` and `soak`: users of several protocols in rooms of a power-law size, in groups and in one-to-one chats, of whom
//! some write, most only listen and read, and now and then one loses its connection and comes back.
//!
//! [`shape`] draws it from the seed, [`member`] is one user's task. What is done is an open loop: messages, history reads and reconnects
//! fall due at their rates, whatever the server does, and are handed to whom they fall on; a message's delays count from when it was due.

mod member;
mod power_law;
pub mod shape;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use chinwag_schema::{ids::ConversationId, limits::native::POSITIONS_MAX};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Serialize;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};

use crate::{
    checker::ledger::PlaceId,
    peer::{Login, Peer, Place, Positions, To},
    run::pace::{Arrivals, Pace},
    scenario::{chats, stage::Stage},
    target,
};
use member::{Act, Member};
use power_law::PowerLaw;
use shape::{Kind, Plan, Shape};

/// Users that connect at once.
const CONNECTING_AT_ONCE: usize = 32;

/// What may wait for one user to do it; beyond it the server keeps the user from writing.
const ACTS_WAITING_MAX: usize = 256;

/// Nothing new for so long: what isn't heard by then won't be.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a user is away when its connection is lost, seconds.
const AWAY_S: std::ops::Range<f64> = 0.1..3.0;

/// What falls due in a community, per second.
#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Rates {
    /// Messages per second, of all users (0.1 to 100,000; in all at most 10,000,000)
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Share of the messages that go to one-to-one chats (0 to 1)
    #[arg(long, default_value_t = 0.2)]
    pub chat_share: f64,
    /// Share of the messages that go to groups (0 to 1)
    #[arg(long, default_value_t = 0.1)]
    pub group_share: f64,
    /// Pages of history read per second (0 to 10,000)
    #[arg(long, default_value_t = 5.0)]
    pub history_rate: f64,
    /// Connections lost and made anew per second (0 to 1,000)
    #[arg(long, default_value_t = 2.0)]
    pub reconnect_rate: f64,
    /// Length of a message's text, bytes (64 to 4,096)
    #[arg(long, default_value_t = 100)]
    pub bytes: usize,
}

impl Rates {
    /// Checks the bounds, with those of so many seconds.
    pub fn check(&self, seconds: u64) -> anyhow::Result<()> {
        ensure!((0.1..=100_000.0).contains(&self.rate), "--rate: 0.1 to 100,000 messages per second");
        target::check_messages(self.rate * seconds as f64)?;
        ensure!((0.0..=1.0).contains(&self.chat_share), "--chat-share: 0 to 1");
        ensure!((0.0..=1.0).contains(&self.group_share), "--group-share: 0 to 1");
        ensure!(self.chat_share + self.group_share <= 1.0, "--chat-share and --group-share: together at most 1");
        ensure!((0.0..=10_000.0).contains(&self.history_rate), "--history-rate: 0 to 10,000 pages per second");
        ensure!((0.0..=1000.0).contains(&self.reconnect_rate), "--reconnect-rate: 0 to 1,000 per second");
        ensure!((64..=4096).contains(&self.bytes), "--bytes: 64 to 4,096");
        Ok(())
    }
}

/// A conversation that has been made.
pub struct Spot {
    kind: Kind,
    /// Rooms and groups.
    place: Option<Place>,
    /// What the server calls it.
    conversation: ConversationId,
    id: PlaceId,
}

/// What all members share.
pub struct Scene {
    plan: Plan,
    spots: Vec<Spot>,
    logins: Vec<Login>,
    bytes: usize,
}

impl Scene {
    /// Returns where a person's messages in a conversation go.
    fn to(&self, person: usize, spot: usize) -> To {
        match &self.spots[spot].place {
            Some(place) => To::Place(place.clone()),
            None => {
                let other = self.plan.spots[spot].people.iter().find(|other| **other != person);
                To::User(self.logins[*other.expect("a chat has two people")].name.clone())
            }
        }
    }
}

/// All members, connected and listening.
pub struct Community {
    scene: Arc<Scene>,
    acts: Vec<mpsc::Sender<Act>>,
    tasks: JoinSet<()>,
}

impl Community {
    /// Makes the users and conversations, connects everybody and lets them join.
    pub async fn gather(stage: &Stage, shape: &Shape, bytes: usize) -> anyhow::Result<Self> {
        let plan = shape.draw();
        ensure!(
            plan.people.iter().all(|person| person.spots.len() <= POSITIONS_MAX),
            "--groups: some user would be in more than {POSITIONS_MAX} conversations, and couldn't resume all; fewer, or more --users"
        );
        let logins = logins(stage, &plan).await?;
        stage.check_sockets(logins.len() + CONNECTING_AT_ONCE)?;
        let chats = plan.spots.iter().filter(|spot| spot.kind == Kind::Chat);
        let chats = chats.map(|chat| (&logins[chat.people[0]], &*logins[chat.people[1]].name));
        let mut chats = chats::open(stage, chats).await?.into_iter();
        let (peers, places) = connect(stage, &plan, &logins).await?;
        let mut spots = Vec::with_capacity(plan.spots.len());
        for (spot, place) in plan.spots.iter().zip(places) {
            let reader = logins[spot.people[0]].clone();
            let (to, conversation) = match &place {
                Some(place) => (To::Place(place.clone()), place.conversation()?),
                None => (To::User(logins[spot.people[1]].name.clone()), chats.next().context("a chat is missing")?),
            };
            // Whoever hears its own messages doesn't note them: that is another matter with every protocol.
            let id = stage.run.ledger.place(to, reader, false);
            spots.push(Spot { kind: spot.kind, place, conversation, id });
        }
        let scene = Arc::new(Scene { plan, spots, logins, bytes });
        let mut this = Self { scene: scene.clone(), acts: Vec::new(), tasks: JoinSet::new() };
        stage.aim(peers.len() as u64, "users in their rooms");
        let scene = &scene;
        let mut joining = stream::iter(peers.into_iter().enumerate())
            .map(|(index, mut peer)| async move {
                let mut member = Member::new(stage.run.clone(), scene.clone(), index);
                member.join(&mut peer).await?;
                anyhow::Ok((member, peer))
            })
            .buffered(CONNECTING_AT_ONCE);
        while let Some((member, peer)) = joining.try_next().await? {
            let (acts, todo) = mpsc::channel(ACTS_WAITING_MAX);
            this.acts.push(acts);
            this.tasks.spawn(member.live(peer, todo));
            stage.progress(this.acts.len() as u64);
        }
        drop(joining);
        Ok(this)
    }

    /// Lets things happen at their rates for some seconds, or until the run is to end. What happens to whom depends on the run's seed and
    /// the chapter's number; what the progress bar measures grows by the seconds.
    pub async fn live(&mut self, stage: &Stage, seconds: f64, rates: &Rates, chapter: u64) {
        let (begun, seed) = (Instant::now(), stage.run.seed ^ chapter << 8);
        let pace = |rate, n| Pace::new(rate, Arrivals::Poisson, begun, seed ^ n);
        let mut paces = [pace(rates.rate, 1), pace(rates.history_rate, 2), pace(rates.reconnect_rate, 3)];
        let mut due = paces.each_mut().map(Pace::due);
        let mut chance = Chance::new(&self.scene.plan, rates, seed);
        let end = begun + Duration::from_secs_f64(seconds);
        while !stage.run.is_stopping() {
            let next = (0..due.len()).min_by_key(|&n| due[n]).expect("there are three");
            let at = std::mem::replace(&mut due[next], paces[next].due());
            tokio::time::sleep_until(at.min(end).into()).await;
            if at >= end {
                break;
            }
            let (person, act) = match next {
                0 => chance.message(&self.scene.plan, at),
                1 => chance.read(&self.scene.plan, at),
                _ => chance.reconnect(&self.scene.plan),
            };
            match self.acts[person].try_send(act) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => stage.run.meter.error("not done: too much waits for this user"),
                Err(TrySendError::Closed(_)) => stage.run.meter.error("not done: this user is gone"),
            }
            stage.progress((chapter as f64 * seconds + begun.elapsed().as_secs_f64()) as u64);
        }
    }

    /// Waits until everything is done and heard, and sends everybody home.
    pub async fn leave(mut self, stage: &Stage) {
        // Who is away writes what fell due meanwhile when it is back: nobody leaves before that is heard.
        let (resting, mut all_rest) = mpsc::channel(1);
        for acts in &self.acts {
            // Who is gone does nothing more.
            let _ = acts.send(Act::Rest(resting.clone())).await;
        }
        drop(resting);
        // Nothing is ever said here: it ends with the last of those who could.
        let _: Option<()> = all_rest.recv().await;
        stage.run.ledger.settle(PATIENCE).await;
        self.acts.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Makes accounts and names guests, in the order of the people.
async fn logins(stage: &Stage, plan: &Plan) -> anyhow::Result<Vec<Login>> {
    let accounts = plan.people.iter().filter(|person| person.account).count();
    let mut users = stage.users("mix", accounts).await?.into_iter();
    let mut guests = stage.guests("lurker", plan.people.len() - accounts).into_iter();
    let login = |person: &shape::Person| if person.account { users.next() } else { guests.next() };
    plan.people.iter().map(login).collect::<Option<_>>().context("fewer users than asked for")
}

/// Connects everybody; those who are to, make their rooms and groups.
async fn connect(stage: &Stage, plan: &Plan, logins: &[Login]) -> anyhow::Result<(Vec<Peer>, Vec<Option<Place>>)> {
    stage.aim(logins.len() as u64, "users connected");
    let mut connecting = stream::iter(plan.people.iter().zip(logins).enumerate())
        .map(|(index, (person, login))| async move {
            let (run, nothing) = (&stage.run, Positions::default());
            let peer = Peer::connect_resuming(person.protocol, run, index, login, nothing).await;
            let mut peer = peer.with_context(|| format!("{} can't connect", login.name))?;
            let mut made = Vec::new();
            for &spot in person.spots.iter().filter(|&&spot| plan.spots[spot].people[0] == index) {
                let name = format!("mix {:x} {spot}", stage.run.id);
                match plan.spots[spot].kind {
                    Kind::Room => made.push((spot, peer.make_place(&name).await?)),
                    Kind::Group => made.push((spot, peer.make_group(&name).await?)),
                    Kind::Chat => {}
                }
            }
            anyhow::Ok((peer, made))
        })
        .buffered(CONNECTING_AT_ONCE);
    let (mut peers, mut places) = (Vec::new(), vec![None; plan.spots.len()]);
    while let Some((peer, made)) = connecting.try_next().await? {
        peers.push(peer);
        made.into_iter().for_each(|(spot, place)| places[spot] = Some(place));
        stage.progress(peers.len() as u64);
    }
    drop(connecting);
    Ok((peers, places))
}

/// Who does what next.
struct Chance {
    random: StdRng,
    /// Voices by kind of conversation, those who write most first, with the share of all messages up to this kind.
    voices: Vec<(f64, Vec<u32>, PowerLaw)>,
}

impl Chance {
    fn new(plan: &Plan, rates: &Rates, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 4);
        let upper =
            [(rates.chat_share, Kind::Chat), (rates.chat_share + rates.group_share, Kind::Group), (1.0, Kind::Room)];
        let voices = upper.into_iter().map(|(up_to, kind)| {
            let mut voices = plan.voices_in(kind);
            voices.shuffle(&mut random);
            let law = PowerLaw::new(voices.len(), 1.0);
            (up_to, voices, law)
        });
        let voices = voices.filter(|(_, voices, _)| !voices.is_empty()).collect();
        Self { random, voices }
    }

    fn message(&mut self, plan: &Plan, due: Instant) -> (usize, Act) {
        let at = self.random.random::<f64>();
        let (_, voices, law) = self.voices.iter().find(|(up_to, ..)| at < *up_to).expect("rooms take what is left");
        let voice = voices[law.choose(&mut self.random)];
        (plan.voices[voice as usize].person, Act::Write { voice, due })
    }

    fn read(&mut self, plan: &Plan, due: Instant) -> (usize, Act) {
        let person = self.random.random_range(0..plan.people.len());
        let spots = &plan.people[person].spots;
        (person, Act::Read { spot: spots[self.random.random_range(0..spots.len())], due })
    }

    fn reconnect(&mut self, plan: &Plan) -> (usize, Act) {
        let person = self.random.random_range(0..plan.people.len());
        (person, Act::Reconnect { away: Duration::from_secs_f64(self.random.random_range(AWAY_S)) })
    }
}
