//! How busy single actors are: the difference of two looks at how much each has handled.
//!
//! Actors count what they handle anyway. Only while somebody looks is anything remembered of it here, and it is forgotten half a minute
//! after the last look.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use chinwag_actors::runtime::{Kind, mailbox::Inspect, metrics::KindMetrics};
use tokio::time::Instant;

/// Looks that follow faster share one answer: several consoles cost no more than one.
const LOOK_MIN: Duration = Duration::from_millis(250);
/// A look is remembered for this long.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Actors told of a kind at once.
pub const BUSIEST_MAX: usize = 100;

/// An actor and what it does.
pub struct Busy {
    pub actor: Arc<dyn Inspect>,
    /// Messages handled per second since the look before.
    pub per_s: f64,
}

/// What was seen of the actors of each kind.
#[derive(Default)]
pub struct Rates {
    looks: Mutex<HashMap<Kind, Look>>,
}

struct Look {
    at: Instant,
    /// By address. Held weakly, which also keeps the address from being another actor's meanwhile.
    handled: HashMap<usize, (Weak<dyn Inspect>, u64)>,
    /// The busiest as of `at`; `None` at the first look.
    busiest: Option<Vec<(Weak<dyn Inspect>, f64)>>,
}

impl Rates {
    /// Returns the busiest actors of a kind: those in whose mailbox something waits first, then by rate. At most [`BUSIEST_MAX`]. The
    /// first look in half a minute takes a quarter of a second.
    pub async fn busiest(&self, kind: &KindMetrics, limit: usize) -> Vec<Busy> {
        if self.look(kind).is_none() {
            tokio::time::sleep(LOOK_MIN).await;
        }
        let seen = self.look(kind).unwrap_or_default();
        let living = seen.into_iter().filter_map(|(actor, per_s)| Some(Busy { actor: actor.upgrade()?, per_s }));
        living.take(limit).collect()
    }

    /// Forgets what nobody has asked for lately.
    pub fn forget_old(&self) {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, look| look.at.elapsed() < REMEMBERED);
    }

    fn look(&self, kind: &KindMetrics) -> Option<Vec<(Weak<dyn Inspect>, f64)>> {
        let now = Instant::now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = looks.remove(kind.name());
        if let Some(look) = before.as_ref().filter(|look| now - look.at < LOOK_MIN) {
            let busiest = look.busiest.clone();
            looks.extend(before.map(|look| (kind.name(), look)));
            return busiest;
        }
        let actors = kind.live_actors();
        let mut handled = HashMap::with_capacity(actors.len());
        let mut ranked = Vec::with_capacity(actors.len());
        for actor in &actors {
            let address = Arc::as_ptr(actor).cast::<()>() as usize;
            let total = actor.handled();
            handled.insert(address, (Arc::downgrade(actor), total));
            if let Some(before) = &before {
                let known = before.handled.get(&address).map_or(0, |(_, known)| *known);
                let per_s = total.saturating_sub(known) as f64 / (now - before.at).as_secs_f64();
                ranked.push((actor.waiting(), per_s, actor));
            }
        }
        let busiest = before.is_some().then(|| top(ranked));
        looks.insert(kind.name(), Look { at: now, handled, busiest: busiest.clone() });
        busiest
    }
}

fn top(mut ranked: Vec<(usize, f64, &Arc<dyn Inspect>)>) -> Vec<(Weak<dyn Inspect>, f64)> {
    let order = |a: &(usize, f64, _), b: &(usize, f64, _)| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1));
    if ranked.len() > BUSIEST_MAX {
        // Sorting all of a hundred thousand would take longer than everything else here.
        ranked.select_nth_unstable_by(BUSIEST_MAX, order);
        ranked.truncate(BUSIEST_MAX);
    }
    ranked.sort_by(order);
    ranked.into_iter().map(|(_, per_s, actor)| (Arc::downgrade(actor), per_s)).collect()
}
