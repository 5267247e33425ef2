//! Clusters in one process, on a fake clock and a bus that a seed makes worse than any real one.
//!
//! A failure names its seed: `SIM_SEED=… cargo test -p chinwag-actors --test cluster_sim` runs that one alone. `SIM_SEEDS=…` sets how
//! many seeds each sweep tries.

#[path = "../common/mod.rs"]
mod common;

mod bus;
mod checker;
mod flow;
mod member;
mod net;
mod nodes;
mod pair;
mod sessions;
mod sweep;
mod world;

/// The seeds of a sweep, `count` of them unless the environment says otherwise. Prints the one that fails.
fn seeds(count: u64, mut run: impl FnMut(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")));
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        let named = Named(seed);
        run(seed);
        std::mem::forget(named);
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        eprintln!("failed with SIM_SEED={}", self.0);
    }
}
