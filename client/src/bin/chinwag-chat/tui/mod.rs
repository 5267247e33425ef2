//! The full-screen face.

mod app;
mod draw;
mod editor;
mod keys;
mod look;
mod screen;
mod thread;

use std::time::Duration;

use chinwag_client::{Connection, EndReason, Event, PendingState};
use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::Chat;
use app::App;
use screen::Screen;

/// At most one look in this time: whoever pastes or catches up sees no more than that anyway.
const LOOK_EVERY: Duration = Duration::from_millis(16);
/// The clock of the banner; where the program is, is kept as often.
const TICK: Duration = Duration::from_secs(1);
/// What was just written may still be sent at the end.
const LAST_SENDS: Duration = Duration::from_secs(3);

/// Runs until somebody says so. `false`: messages are left in the outbox, or the session is over.
pub async fn run(chat: Chat, mut events: mpsc::Receiver<Event>) -> anyhow::Result<bool> {
    let mut screen = Screen::enter(!chat.options.no_mouse)?;
    let (mut app, mut performed) = App::new(chat);
    app.begin();
    let mut keys = EventStream::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now() - LOOK_EVERY;
    let mut stale = true;
    let mut title = String::new();
    while app.quit.is_none() {
        if stale && looked.elapsed() >= LOOK_EVERY {
            let mut more = true;
            screen.terminal.draw(|frame| more = draw::draw(frame, &mut app))?;
            (stale, looked) = (false, Instant::now());
            app.shown(more);
            app.page();
            if std::mem::take(&mut app.bell) {
                screen.bell();
            }
            let named = window_title(&app);
            if named != title {
                screen.title(&named);
                title = named;
            }
        }
        let look_at = looked + LOOK_EVERY;
        tokio::select! {
            biased;
            key = keys.next() => match key {
                Some(Ok(key)) => keys::take(&mut app, key),
                // The terminal is gone.
                Some(Err(_)) | None => app.quit = Some(true),
            },
            Some(done) = performed.recv() => app.performed(done),
            event = events.recv() => match event {
                Some(event) => app.hear(event),
                None => app.quit = Some(false),
            },
            _ = tick.tick() => app.keep(),
            _ = terminate.recv() => app.quit = Some(true),
            _ = hangup.recv() => app.quit = Some(true),
            () = tokio::time::sleep_until(look_at), if stale => continue,
        }
        stale = true;
    }
    drop(screen);
    finish(app, &mut events).await
}

/// How many conversations have something unread, and whose window it is.
fn window_title(app: &App) -> String {
    app.client.view(|model| {
        let unread = model.conversations().iter().filter(|one| one.unread > 0).count();
        let me = model.me.as_ref().map_or(String::new(), |me| format!(" · {}", crate::text::line(&me.name)));
        if unread > 0 { format!("({unread}) Chinwag{me}") } else { format!("Chinwag{me}") }
    })
}

/// Leaves in order: says why it ended and what is left.
async fn finish(mut app: App, events: &mut mpsc::Receiver<Event>) -> anyhow::Result<bool> {
    let client = app.client.clone();
    let online = client.view(|model| model.connection == Connection::Online);
    if online {
        let sent = async {
            let mut flushing = std::pin::pin!(client.flushed(LAST_SENDS));
            loop {
                tokio::select! {
                    _ = &mut flushing => return,
                    event = events.recv() => if event.is_none() { return },
                }
            }
        };
        let _ = timeout(LAST_SENDS, sent).await;
    }
    app.keep();
    let ended = client.view(|model| match &model.connection {
        Connection::Ended(reason) => Some(reason.clone()),
        _ => None,
    });
    let left = client.view(|model| model.outbox().iter().filter(|item| item.state != PendingState::Stored).count());
    client.close().await;
    if left > 0 {
        eprintln!("Messages that wait for the next run: {left}");
    }
    match ended {
        None | Some(EndReason::Stopped) => Ok(left == 0),
        Some(reason) => {
            if let (EndReason::LogIn | EndReason::LoggedOut, Some(account)) = (&reason, &app.chat.account) {
                // So that the next run asks for the password.
                let _ = account.logout().await;
            }
            eprintln!("Ended: {}", crate::text::line(&reason.to_string()));
            Ok(app.quit == Some(true))
        }
    }
}
