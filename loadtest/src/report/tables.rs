//! The tables of the report: phases, delays, counts, metrics, and what is needed to repeat the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    diff,
    format::{self, escape},
    model::{Delays, Phase, Report},
};

/// What a health check says of the moment: nothing that a repetition needs.
const MOMENTARY: [&str; 8] =
    ["connections", "message", "performance", "status", "success", "timestamp", "uptime", "uptimeHuman"];

pub fn phases(report: &Report) -> String {
    if report.phases.is_empty() {
        return String::new();
    }
    let of = |names: &dyn Fn(&Phase) -> Vec<String>| -> Vec<String> {
        let all: BTreeSet<_> = report.phases.iter().flat_map(names).collect();
        all.into_iter().collect()
    };
    let timers = of(&|phase| phase.delays.keys().cloned().collect());
    let counters = of(&|phase| phase.counts.iter().filter(|(_, n)| **n > 0).map(|(name, _)| name.clone()).collect());
    let mut table = String::from(
        "<div class=wide><table>\n<thead><tr><th rowspan=2><th rowspan=2 class=text>phase<th rowspan=2>from<th rowspan=2>took",
    );
    for name in &counters {
        let _ = write!(table, "<th rowspan=2>{}", escape(name));
    }
    for timer in &timers {
        let _ = write!(table, "<th colspan=4 class=group>{} (ms)", escape(timer));
    }
    table.push_str("<th rowspan=2>errors</tr>\n<tr>");
    for _ in &timers {
        table.push_str("<th class=first>count<th>p50<th>p95<th>p99");
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for (index, phase) in report.phases.iter().enumerate() {
        let tenths = |s: f64| format::seconds((s * 10.0).round() / 10.0);
        let (from, took) = (tenths(phase.from_s), tenths(phase.to_s - phase.from_s));
        let _ =
            write!(table, "<tr><td>{}<th class=text scope=row>{}<td>{from}<td>{took}", index + 1, escape(&phase.name));
        for name in &counters {
            let _ = write!(table, "<td>{}", phase.counts.get(name).map_or("–".into(), |n| format::count(*n)));
        }
        for timer in &timers {
            match phase.delays.get(timer).filter(|delays| delays.count > 0) {
                Some(delays) => {
                    let _ = write!(table, "<td class=first>{}", format::count(delays.count));
                    cells(&[delays.p50, delays.p95, delays.p99], &mut table);
                }
                None => table.push_str("<td class=first>–<td>–<td>–<td>–"),
            }
        }
        let errors: u64 = phase.errors.values().sum();
        let class = if errors > 0 { " class=bad" } else { "" };
        let _ = writeln!(table, "<td{class}>{}</tr>", format::count(errors));
    }
    table + "</tbody></table></div>\n"
}

fn cells(values: &[f64], table: &mut String) {
    for value in values {
        let _ = write!(table, "<td>{}", format::number(*value));
    }
}

pub fn delays(delays: &BTreeMap<String, Delays>) -> String {
    if delays.is_empty() {
        return String::new();
    }
    let mut table = String::from(
        "<div class=wide><table>\n<thead><tr><th class=text>delay (ms)<th>count<th>mean<th>p50<th>p90<th>p95<th>p99<th>p99.9<th>max</tr></thead>\n<tbody>\n",
    );
    for (name, delays) in delays {
        let Delays { count, mean, p50, p90, p95, p99, p999, max } = *delays;
        let _ = write!(table, "<tr><th class=text scope=row>{}<td>{}", escape(name), format::count(count));
        cells(&[mean, p50, p90, p95, p99, p999, max], &mut table);
        table.push_str("</tr>\n");
    }
    table + "</tbody></table></div>\n"
}

pub fn counts(report: &Report) -> String {
    let mut all: Vec<_> = report.counts.iter().map(|(name, n)| (name.clone(), format::count(*n))).collect();
    if let Some(rate) = report.deliveries_per_s() {
        all.push(("delivered".into(), format::count(report.delays["delivered"].count)));
        all.push(("delivered per second".into(), format::number(rate)));
    }
    let checked = report.checked;
    all.push(("messages checked".into(), format::count(checked.messages)));
    all.push(("deliveries checked".into(), format::count(checked.deliveries)));
    all.push(("histories read afterwards".into(), format::count(checked.histories)));
    all.push(("broken promises".into(), format::count(report.violation_count())));
    pairs("counts", &all)
}

pub fn metrics(report: &Report) -> String {
    if report.metrics.is_empty() {
        return String::new();
    }
    let all: Vec<_> = report.metrics.iter().map(|(name, value)| (name.clone(), format::number(*value))).collect();
    format!(
        "<details><summary>{} that changed: counters after minus before, gauges after</summary>\n{}</details>\n",
        all.len(),
        pairs("facts metrics", &all)
    )
}

pub fn repeat(report: &Report) -> String {
    let mut command: Vec<_> = report.command.iter().map(|argument| format::shell(argument)).collect();
    if !report.command.iter().any(|argument| argument == "--seed" || argument.starts_with("--seed=")) {
        command.extend(["--seed".into(), report.seed.to_string()]);
    }
    let machine = &report.machine;
    let mut machine_facts = vec![
        ("system".to_owned(), machine.system.clone()),
        ("processor".to_owned(), machine.cpu.clone()),
        ("cores".to_owned(), machine.cores.to_string()),
        ("memory".to_owned(), format::bytes(machine.memory_bytes as f64)),
        ("load test".to_owned(), format!("chinwag-loadtest {}", report.version)),
    ];
    for (index, server) in report.servers.iter().enumerate() {
        let mut server = server.clone();
        if let Some(facts) = server.as_object_mut() {
            facts.retain(|name, _| !MOMENTARY.contains(&name.as_str()));
        }
        let name = if report.servers.len() > 1 { format!("server {}", index + 1) } else { "server".into() };
        diff::leaves(&name, &server, &mut machine_facts);
    }
    let mut settings = Vec::new();
    diff::leaves("", &report.settings, &mut settings);
    let mut text = format!("<pre><code>chinwag-loadtest {}</code></pre>\n", escape(&command.join(" ")));
    let _ =
        write!(text, "<div class=columns>\n<div><h3>Settings in effect</h3>\n{}</div>\n", pairs("facts", &settings));
    let _ = write!(text, "<div><h3>Machine and versions</h3>\n{}</div>\n</div>\n", pairs("facts", &machine_facts));
    text
}

fn pairs(class: &str, all: &[(String, String)]) -> String {
    let mut list = format!("<dl class=\"{class}\">\n");
    for (name, value) in all {
        let _ = writeln!(list, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    list + "</dl>\n"
}
