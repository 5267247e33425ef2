//! Leases, shards and links: what one node of several knows of the others. A lone one has all shards, and no lease that ends.

use std::sync::atomic::Ordering::Relaxed;

use chinwag_actors::cluster::link::LinkGauge;
use prometheus::proto::{Metric, MetricType};

use super::{Families, counter, gauge};
use crate::facts::NodeFacts;

pub(super) fn families(facts: &NodeFacts, families: &mut Families) {
    let table = &facts.node.shards;
    let states = ["ours", "handing_over", "others", "nobodys"];
    let shards = states.iter().zip(table.counts()).map(|(state, count)| gauge(&[("state", state)], count as f64));
    families.add(
        "shards",
        "Shards by state: served here, being handed over, another node's, or nobody's as far as this node knows.",
        MetricType::GAUGE,
        shards.collect(),
    );
    let counts = &table.counts;
    let moved = [("gained", &counts.gained), ("lost", &counts.lost), ("handed_over", &counts.handed_over)];
    families.add(
        "shards_moved_total",
        "Shards that came, were taken away, or were handed over in good order.",
        MetricType::COUNTER,
        moved.map(|(how, count)| counter(&[("how", how)], count.load(Relaxed) as f64)).into(),
    );
    families.counter(
        "lease_lapses_total",
        "Leases that ran out before they were renewed, with shards: their conversations stopped.",
        counts.lapses.load(Relaxed),
    );
    families.counter("lease_renewals_total", "Renewals of this node's lease.", counts.renewals.load(Relaxed));
    families.counter(
        "lease_renewal_failures_total",
        "Renewals that the directory did not answer.",
        counts.failures.load(Relaxed),
    );
    if let Some(left) = table.lease_left() {
        families.gauge("lease_left_seconds", "What is left of this node's lease.", left.as_secs_f64());
    }
    links(facts, families);
}

fn links(facts: &NodeFacts, families: &mut Families) {
    // A node that left is in the list for ever.
    let links = facts.node.cluster.links().into_iter().filter(|(_, link)| link.there.load(Relaxed));
    let links: Vec<_> = links.map(|(node, link)| (node.0.to_string(), link)).collect();
    let each = |make: fn(&[(&str, &str)], f64) -> Metric, value: fn(&LinkGauge) -> u64| -> Vec<Metric> {
        links.iter().map(|(node, link)| make(&[("peer", node)], value(link) as f64)).collect()
    };
    let up = each(gauge, |link| u64::from(link.up.load(Relaxed)));
    families.add("link_up", "1 while the link to another node stands, by its number.", MetricType::GAUGE, up);
    families.add(
        "link_unacknowledged_frames",
        "Frames for another node that it has not acknowledged.",
        MetricType::GAUGE,
        each(gauge, |link| link.kept_frames.load(Relaxed)),
    );
    families.add(
        "link_unacknowledged_bytes",
        "Bytes for another node that it has not acknowledged.",
        MetricType::GAUGE,
        each(gauge, |link| link.kept_bytes.load(Relaxed)),
    );
    families.add(
        "link_envelopes_total",
        "Envelopes sent to another node, for the first time or again.",
        MetricType::COUNTER,
        each(counter, |link| link.envelopes_sent.load(Relaxed)),
    );
    families.add(
        "link_resent_total",
        "Envelopes sent to another node again.",
        MetricType::COUNTER,
        each(counter, |link| link.resent.load(Relaxed)),
    );
    families.add(
        "link_downs_total",
        "Sessions with another node that ended: what was on its way is asked again.",
        MetricType::COUNTER,
        each(counter, |link| link.downs.load(Relaxed)),
    );
}
