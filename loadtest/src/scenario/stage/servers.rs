//! The servers of a run: one started here in a temporary directory, or nodes that run already.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    rest,
    run::{process::Process, scrape::Scrape},
    server::Server,
    target::{Common, Node},
};

/// What every server that is started here gets: nothing holds the load back, and guests may come.
const ARGUMENTS: [&str; 3] = ["--unlimited", "--guests", "on"];

/// The servers of a run. A server that was started here ends with it.
pub struct Servers {
    own: Option<Own>,
    pub nodes: Vec<Node>,
    /// Of the nodes whose process id is known.
    pub processes: Arc<[Process]>,
}

/// Declared in the order in which they go: the directory after the server that writes there.
struct Own {
    server: Server,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Servers {
    /// Starts a server, or finds the nodes of `--node`. Blocking.
    pub fn open(common: &Common, arguments: &[String]) -> anyhow::Result<Self> {
        let (own, nodes) = if common.node.is_empty() {
            let own = Own::start(common, arguments)?;
            let node = own.server.node.clone();
            (Some(own), vec![node])
        } else {
            (None, common.nodes()?)
        };
        let watch = |node: &Node| {
            let process = Process::watch(node.pid?).with_context(|| format!("the server at {}", node.http));
            Some(process)
        };
        if let (Some(known), Some(unknown)) =
            (nodes.iter().find(|node| node.pid.is_some()), nodes.iter().find(|node| node.pid.is_none()))
        {
            bail!(
                "the process id of the node at {} is known and that of the node at {} isn't: CPU and memory of only some nodes would be \
                 told as those of all; add or leave out pid=N for all",
                known.http,
                unknown.http
            );
        }
        let processes = nodes.iter().filter_map(watch).collect::<anyhow::Result<_>>()?;
        Ok(Self { own, nodes, processes })
    }

    /// No servers: the scenario starts its own.
    pub fn none() -> Self {
        Self { own: None, nodes: Vec::new(), processes: Arc::new([]) }
    }

    /// Returns the data directory of the server that was started here.
    pub fn data(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.directory.path())
    }

    /// Returns what each node says of its health, with its address, and how it was started if that was here. Blocking.
    pub fn facts(&self) -> anyhow::Result<Vec<Value>> {
        let fact = |node: &Node| {
            let mut fact = rest::health(&node.http)?;
            fact.insert("address".into(), json!(node.http));
            fact.insert("started_here".into(), json!(self.own.is_some()));
            if let Some(own) = &self.own {
                fact.insert("arguments".into(), json!(own.arguments));
            }
            Ok(Value::Object(fact))
        };
        self.nodes.iter().map(fact).collect()
    }

    /// Returns the metrics of all nodes that tell them, added up, and why others don't. Blocking.
    pub fn scrape(&self) -> (Scrape, Vec<anyhow::Error>) {
        let (mut all, mut missing) = (Scrape::default(), Vec::new());
        for ops in self.nodes.iter().filter_map(|node| node.ops.as_deref()) {
            match rest::metrics(ops) {
                Ok(text) => all.add(Scrape::parse(&text)),
                Err(error) => missing.push(error),
            }
        }
        (all, missing)
    }

    /// Returns how a server ended; `None` while all run, as far as that is known.
    pub fn death(&self) -> Option<String> {
        if let Some(own) = &self.own {
            return own.server.death();
        }
        let dead = self.processes.iter().find(|process| !process.is_alive())?;
        Some(format!("the server with process id {} died; its own log says why", dead.id()))
    }
}

impl Own {
    fn start(common: &Common, arguments: &[String]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("chinwag-loadtest-").tempdir()?;
        let all = ARGUMENTS.into_iter().chain(arguments.iter().map(String::as_str));
        let all: Vec<&str> = all.chain(common.server_args.iter().map(String::as_str)).collect();
        let server = Server::start_program(common.server.as_deref(), directory.path(), &all)?;
        Ok(Self { server, arguments: all.into_iter().map(str::to_owned).collect(), directory })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        common: Common,
    }

    fn open(nodes: &[&str]) -> anyhow::Result<Servers> {
        let arguments = nodes.iter().flat_map(|node| ["--node", node]);
        let cli = Cli::try_parse_from(["test"].into_iter().chain(arguments))?;
        Servers::open(&cli.common, &[])
    }

    #[test]
    fn cpu_is_that_of_all_nodes_or_unknown() {
        let own = format!("http=127.0.0.1:1,pid={}", std::process::id());
        assert_eq!(open(&[&own]).unwrap().processes.len(), 1);
        assert!(open(&["http=127.0.0.1:1", "http=127.0.0.1:2"]).unwrap().processes.is_empty());
        let error = open(&[&own, "http=127.0.0.1:2"]).err().unwrap().to_string();
        assert!(error.contains("127.0.0.1:1 is known and that of the node at 127.0.0.1:2 isn't"), "{error}");
    }

    #[test]
    fn a_node_is_named_once() {
        let error = open(&["http=localhost:1", "http=localhost:1"]).err().unwrap().to_string();
        assert!(error.contains("--node: ") && error.ends_with("is named twice"), "{error}");
    }
}
