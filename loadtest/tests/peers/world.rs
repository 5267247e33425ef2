//! A server, its users, and peers that write and listen until all is heard.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chinwag_loadtest::{
    checker::ledger::{Ear, PlaceId, Verdict},
    peer::{Heard, Login, Peer, Protocol, To},
    rest,
    run::Run,
    server::Server,
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// Nothing here takes that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a run on it.
pub struct World {
    pub run: Arc<Run>,
    pub server: Server,
    _directory: TempDir,
}

/// One who writes to a place and listens there.
pub struct Participant {
    pub peer: Peer,
    /// As a sender.
    pub index: u32,
    pub place: PlaceId,
    pub to: To,
    /// How many messages it writes.
    pub messages: u32,
    /// Bytes of each of its texts.
    pub bytes: usize,
}

/// What one participant saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub heard: u32,
    pub stored: u32,
}

impl World {
    /// Starts a server with guests and without limits.
    pub fn start(protocol: Protocol, deflate: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server =
            Server::start_program(Some(&program()), directory.path(), &["--unlimited", "--guests", "on"]).unwrap();
        let run = Run::new(1, protocol, deflate, vec![server.node.clone()]);
        Self { run, server, _directory: directory }
    }

    /// Registers a user and logs it in.
    pub async fn user(&self, name: &str) -> Login {
        let (http, name) = (self.server.http.clone(), name.to_owned());
        let log_in = move || {
            rest::register(&http, &name).unwrap();
            let token = Some(rest::log_in(&http, &name).unwrap());
            Login { name, token }
        };
        tokio::task::spawn_blocking(log_in).await.unwrap()
    }

    pub async fn connect(&self, protocol: Protocol, login: &Login) -> Peer {
        Peer::connect_over(protocol, &self.run, 0, login).await.unwrap()
    }

    /// Lets everybody write at once and listen until everything was heard; what each saw, and the verdict.
    pub async fn talk(&self, participants: Vec<Participant>) -> (Vec<Seen>, Verdict) {
        let (done, _) = watch::channel(false);
        let (wrote, mut written) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let count = participants.len();
        for participant in participants {
            let ear = participant.listen(&self.run);
            let index = participant.index;
            let talking = participant.talk(self.run.clone(), ear, wrote.clone(), done.subscribe());
            tasks.spawn(async move { (index, talking.await) });
        }
        for _ in 0..count {
            timeout(PATIENCE, written.recv()).await.expect("somebody can't write").unwrap();
        }
        self.run.ledger.settle(PATIENCE).await;
        done.send(true).unwrap();
        let mut seen = tasks.join_all().await;
        seen.sort_by_key(|(index, _)| *index);
        (seen.into_iter().map(|(_, seen)| seen).collect(), self.run.ledger.verify(&self.run).await.unwrap())
    }
}

impl Participant {
    /// Whoever hears itself must hear all of it, as somebody who only listens must.
    fn listen(&self, run: &Run) -> Ear {
        let receiver = if self.peer.hears_itself() { u32::MAX } else { self.index };
        run.ledger.listen(self.place, receiver)
    }

    async fn talk(
        mut self,
        run: Arc<Run>,
        mut ear: Ear,
        wrote: mpsc::UnboundedSender<()>,
        mut done: watch::Receiver<bool>,
    ) -> Seen {
        let mut seen = Seen::default();
        for n in 1..=self.messages {
            let mark = run.mark(self.index, n, std::time::Instant::now());
            run.ledger.sent(self.place, mark);
            self.peer.post(&self.to, &mark, self.bytes).await.unwrap();
        }
        wrote.send(()).unwrap();
        loop {
            let heard = tokio::select! {
                heard = self.peer.next() => heard.unwrap(),
                _ = done.wait_for(|done| *done) => break,
                // Cancels `next` again and again: nothing may get lost by that.
                () = tokio::time::sleep(Duration::from_micros(200)) => continue,
            };
            match heard {
                Heard::Message(mark) => {
                    assert_eq!(mark.run, run.id);
                    ear.heard(&mark);
                    seen.heard += 1;
                }
                Heard::Stored { mark, seq } => {
                    assert_eq!((mark.run, mark.sender), (run.id, self.index));
                    assert_ne!(seq, Some(0));
                    run.ledger.stored(&mark, seq);
                    seen.stored += 1;
                }
                Heard::Other | Heard::Presence { .. } => {}
                Heard::Refused { .. } | Heard::Gap { .. } => panic!("{heard:?}"),
            }
        }
        ear.stayed();
        self.peer.close().await;
        seen
    }
}

/// Names a guest.
pub fn guest(name: &str) -> Login {
    Login { name: name.into(), token: None }
}

/// Returns what a peer hears next that isn't [`Heard::Other`].
pub async fn next(peer: &mut Peer) -> Heard {
    let next = async {
        loop {
            match peer.next().await.unwrap() {
                Heard::Other => {}
                heard => return heard,
            }
        }
    };
    timeout(PATIENCE, next).await.expect("nothing comes")
}

/// The server: what `CHINWAG_BIN` names, or the one of the same build.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("CHINWAG_BIN") {
        return program.into();
    }
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(|deps| deps.parent()).unwrap().join("chinwag");
    assert!(program.is_file(), "there is no {}: cargo build -p chinwag", program.display());
    program
}
