//! What a result was measured on.

use std::fs;

use crate::report::model::Machine;

/// Returns the facts of this machine; empty where the system doesn't tell.
pub fn facts() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = format!("{} {}", read("/proc/sys/kernel/ostype").trim(), read("/proc/sys/kernel/osrelease").trim());
    let system = match value_of(&read("/etc/os-release"), "PRETTY_NAME", '=') {
        Some(name) => format!("{}, {kernel}", name.trim_matches('"')),
        None => kernel,
    };
    let memory = value_of(&read("/proc/meminfo"), "MemTotal", ':');
    let kib = memory.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Machine {
        system,
        cpu: value_of(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_bytes: kib.unwrap_or(0) * 1024,
    }
}

/// Returns the value of the first line that has this name.
fn value_of(text: &str, name: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found() {
        let machine = facts();
        assert!(machine.system.contains("Linux") && machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n";
        assert_eq!(value_of(cpuinfo, "model name", ':').as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(value_of(cpuinfo, "model", ':'), None);
    }
}
