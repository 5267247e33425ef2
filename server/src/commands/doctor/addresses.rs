//! Can each listener's address be bound, or is the server that uses it ours?

use std::{io, net::SocketAddr, path::Path};

use super::Finding;
use crate::{
    config::Config,
    net::{self, ListenerKind},
};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let ours = ours(&config.data);
    let kinds = [
        (ListenerKind::Http, &config.listeners.http),
        (ListenerKind::Messenger, &config.listeners.messenger),
        (ListenerKind::Presence, &config.listeners.presence),
        (ListenerKind::Ops, &config.listeners.ops),
    ];
    let all = kinds.into_iter().flat_map(|(kind, addresses)| addresses.iter().map(move |&address| (kind, address)));
    all.map(|(kind, address)| one(kind, address, ours.as_ref())).collect()
}

fn one(kind: ListenerKind, address: SocketAddr, ours: Option<&Ours>) -> Finding {
    let about = format!("--{} {address}", kind.as_str());
    let error = match net::bind(kind, address) {
        Ok(_) if address.port() == 0 => return Finding::ok(about, "a free port is chosen at the start"),
        Ok(_) => return Finding::ok(about, "free"),
        Err(error) => error,
    };
    let (found, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => match ours.filter(|ours| ours.addresses.contains(&address)) {
            Some(ours) => return Finding::ok(about, format!("in use by this server (process {})", ours.pid)),
            None => (
                "in use by another program".to_owned(),
                "stop that program (`ss -ltnp` names it), or choose another address",
            ),
        },
        io::ErrorKind::PermissionDenied => (
            error.to_string(),
            "ports below 1024 need a right: choose another port, or give the program CAP_NET_BIND_SERVICE",
        ),
        io::ErrorKind::AddrNotAvailable => (
            error.to_string(),
            "this machine has no such address (`ip address` lists them); use one of its own, or 0.0.0.0",
        ),
        _ => (error.to_string(), "choose another address"),
    };
    Finding::fail(about, found, advice)
}

/// The server that runs on the data directory.
struct Ours {
    pid: u64,
    addresses: Vec<SocketAddr>,
}

/// Reads what the running server wrote; `None` when none runs.
fn ours(data: &Path) -> Option<Ours> {
    let text = std::fs::read_to_string(data.join("ports.json")).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    let pid = ports["pid"].as_u64()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(())?;
    let lists = ports.as_object()?.values().filter_map(|value| value.as_array());
    let addresses = lists.flatten().filter_map(|address| address.as_str()?.parse().ok());
    Some(Ours { pid, addresses: addresses.collect() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{super::Level, *};

    #[test]
    fn an_address_is_free_ours_or_somebody_elses() {
        let free = one(ListenerKind::Http, "127.0.0.1:0".parse().unwrap(), None);
        assert_eq!(free.level, Level::Ok);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let foreign = one(ListenerKind::Http, address, None);
        assert!(foreign.level == Level::Fail && foreign.advice.is_some(), "{foreign:?}");

        let place = tempfile::tempdir().unwrap();
        let ports = |pid: u32| format!("{{\"http\": [\"{address}\"], \"pid\": {pid}}}");
        std::fs::write(place.path().join("ports.json"), ports(std::process::id())).unwrap();
        let ours_now = ours(place.path());
        assert_eq!(one(ListenerKind::Http, address, ours_now.as_ref()).level, Level::Ok);
        std::fs::write(place.path().join("ports.json"), ports(u32::MAX)).unwrap();
        assert!(ours(place.path()).is_none(), "that one died and left its file");
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let finding = one(ListenerKind::Ops, "192.0.2.1:9600".parse().unwrap(), None);
        assert!(finding.level == Level::Fail && finding.advice.unwrap().contains("no such address"));
    }
}
