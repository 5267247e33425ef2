//! A result as a run leaves it, for the tests of what reads results.

use std::{collections::BTreeMap, f64::consts::TAU};

use serde_json::json;

use super::model::{Checked, Delays, FORMAT, Figure, Machine, Phase, Report, Second};

/// Seconds of the run.
const LENGTH: usize = 240;

/// Makes a whole result with every part filled in: three phases, a pause in the middle, a server that was busy once.
pub fn report() -> Report {
    let series: Vec<_> = (1..=LENGTH).map(second).collect();
    let sent: u64 = series.iter().map(|second| second.counts["sent"]).sum();
    let delivered = series.iter().filter_map(|second| second.delays.get("delivered")).map(|delays| delays.count).sum();
    let phases = [("100 users", 0.0, 80.0), ("400 users", 80.0, 160.0), ("800 users", 168.0, 240.0)];
    Report {
        format: FORMAT,
        version: "0.1.0".into(),
        scenario: "fanout".into(),
        command: ["fanout", "--receivers", "1000", "--fail-if", "p99>50ms"].map(String::from).into(),
        settings: json!({"receivers": 1000, "mode": "paced", "per_second": 20.0, "message_bytes": 100, "rooms": ["Fan out"], "bar": null}),
        protocol: "native".into(),
        seed: 7_261_540_913,
        started_at_ms: 1_795_327_200_000,
        took_s: LENGTH as f64,
        machine: Machine {
            system: "Linux 6.1.0 x86_64".into(),
            cpu: "AMD EPYC 7B13".into(),
            cores: 2,
            memory_bytes: 16 << 30,
        },
        servers: vec![json!({
            "address": "127.0.0.1:40123", "started_here": true, "arguments": ["--unlimited", "--guests", "on"],
            "version": "0.1.0", "unlimited": true, "status": "healthy", "uptime": 0, "services": {"database": "healthy"},
        })],
        partial: None,
        figures: vec![
            Figure { range: Some((1.09, 1.21)), ..Figure::new("CPU per delivery", "us", 1.14) }
                .beside("raw limit, one write each", 0.98)
                .at_most(1.25),
            Figure::new("delivered p99", "ms", 12.4).at_most(25.0),
            Figure::new("memory per connection", "KiB", 6.4).at_most(6.0),
            Figure { range: Some((18_400.0, 19_900.0)), ..Figure::new("deliveries", "per second", 19_233.0) }
                .at_least(15_000.0),
            Figure::new("CPU used", "cores", 0.34),
        ],
        phases: phases.into_iter().map(|(name, from, to)| phase(name, from, to)).collect(),
        delays: [
            ("delivered".into(), delays(delivered, 1.9)),
            ("acknowledged".into(), delays(sent, 1.2)),
            ("handshake".into(), delays(1000, 3.1)),
        ]
        .into(),
        counts: [("sent".into(), sent), ("connected".into(), 1000), ("closed".into(), 1000)].into(),
        errors: [("connection refused".into(), 3)].into(),
        violations: Vec::new(),
        checked: Checked { messages: sent, deliveries: delivered, histories: 1 },
        series,
        metrics: metrics(),
    }
}

fn metrics() -> BTreeMap<String, f64> {
    let metrics = [
        (r#"chinwag_deliveries_total{protocol="native"}"#, 4_512_000.0),
        (r#"chinwag_actor_mailbox_depth_max{actor="relay"}"#, 17.0),
        ("chinwag_commit_seconds_sum", 12.25),
        ("process_resident_memory_bytes", 61_214_720.0),
    ];
    metrics.map(|(name, value)| (name.to_owned(), value)).into()
}

fn delays(count: u64, ms: f64) -> Delays {
    let at = |factor: f64| ms * factor;
    let (p50, p90, p95, p99) = (ms, at(1.9), at(2.6), at(6.5));
    Delays { count, mean: at(1.2), p50, p90, p95, p99, p999: at(14.0), max: at(31.0) }
}

fn phase(name: &str, from_s: f64, to_s: f64) -> Phase {
    let busy = 1.0 + from_s / 100.0;
    Phase {
        name: name.into(),
        from_s,
        to_s,
        counts: [("sent".into(), 1600)].into(),
        delays: [("delivered".into(), delays(1_600_000, 1.6 * busy)), ("handshake".into(), delays(300, 2.4 * busy))]
            .into(),
        errors: if from_s > 100.0 { [("connection refused".into(), 3)].into() } else { BTreeMap::new() },
    }
}

fn second(at: usize) -> Second {
    let t = at as f64;
    let load = match at {
        ..=80 => 0.4,
        81..=160 => 1.0,
        161..=168 => 0.0,
        _ => 1.6,
    };
    // Not a straight line, and the same each time.
    let wave = 1.0 + 0.08 * (t * 0.7).sin() + 0.05 * (t * TAU / 17.0).cos() + 0.03 * (t * 2.3).sin();
    let busy = if (120..126).contains(&at) { 40.0 } else { 1.0 };
    let sent = (20.0 * load * wave).round() as u64;
    let mut timers = BTreeMap::new();
    if load > 0.0 {
        timers.insert("delivered".into(), delays(sent * 1000, (1.0 + load) * wave * busy));
        timers.insert("acknowledged".into(), delays(sent, (0.8 + load / 2.0) * wave * busy.sqrt()));
    }
    if at < 25 || (81..95).contains(&at) {
        timers.insert("handshake".into(), delays(40, 2.4 * wave));
    }
    Second {
        at_s: t,
        counts: [("sent".into(), sent), ("connected".into(), 0)].into(),
        delays: timers,
        errors: if at == 122 { 3 } else { 0 },
        cpu_s: (at != 200).then_some(0.02 + 0.35 * load * wave),
        resident_bytes: Some(38_000_000 + (60_000.0 * t.min(180.0)) as u64 + (load * 6e6) as u64),
        open: ((t * 40.0).min(1000.0) * load.max(0.4)) as u64,
    }
}
