//! The bare server that the real one is held to: it only moves prepared frames ([`server`]), and is driven by the same code in the same run.
//!
//! [`Limit`] runs it as a process of its own; its clients are [`line::BareLine`]s, which speak no protocol. What absolute figures depend on
//! (processor, kernel, neighbours) divides out of the ratio.

pub mod frame;
pub mod line;
pub mod server;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

use crate::run::process::Process;
use frame::Frames;
use line::BareLine;
use server::{FAN_POSTERS, Options, Wiring};

/// A running bare server.
pub struct Limit {
    child: Child,
    process: Process,
}

/// The clients of a fan.
pub struct Fan {
    /// Its frames are written one by one, to each reader.
    pub each: BareLine,
    /// Its frames are written as many at once as came together.
    pub together: BareLine,
    pub readers: Vec<BareLine>,
}

impl Limit {
    /// Starts a bare server that writes what its posters send to all of `readers` sockets; connects all of them.
    pub async fn fan(frames: Frames, readers: usize) -> anyhow::Result<(Self, Fan)> {
        let (limit, mut lines) = Self::start(Wiring::Fan, frames, readers + FAN_POSTERS).await?;
        let readers = lines.split_off(FAN_POSTERS);
        let (together, each) = (lines.pop().context("no poster")?, lines.pop().context("no poster")?);
        Ok((limit, Fan { each, together, readers }))
    }

    /// Starts a bare server that passes on what comes from one of a pair to the other; connects `pairs` pairs.
    pub async fn pairs(frames: Frames, pairs: usize) -> anyhow::Result<(Self, Vec<(BareLine, BareLine)>)> {
        let (limit, lines) = Self::start(Wiring::Pairs, frames, pairs * 2).await?;
        let mut lines = lines.into_iter();
        let pairs = std::iter::from_fn(|| lines.next().zip(lines.next())).collect();
        Ok((limit, pairs))
    }

    async fn start(wiring: Wiring, frames: Frames, sockets: usize) -> anyhow::Result<(Self, Vec<BareLine>)> {
        let options = Options { wiring, sockets, frame_bytes: frames.bytes()? };
        let (limit, port) = tokio::task::spawn_blocking(move || Self::spawn(&options)).await??;
        let mut lines = Vec::with_capacity(sockets);
        for index in 0..sockets {
            let echoes = wiring == Wiring::Fan && index < FAN_POSTERS;
            // One after the other: their order is their wiring.
            let line = BareLine::connect(port, frames.clone(), echoes).await;
            lines.push(line.context("the bare server doesn't accept")?);
        }
        Ok((limit, lines))
    }

    fn spawn(options: &Options) -> anyhow::Result<(Self, u16)> {
        let program = std::env::current_exe().context("the path of this program is unknown")?;
        let wiring = clap::ValueEnum::to_possible_value(&options.wiring).context("a wiring without a name")?;
        let mut child = Command::new(program)
            .args(["limit-server", wiring.get_name()])
            .args([options.sockets.to_string(), options.frame_bytes.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start the bare server")?;
        let stdout = child.stdout.take().context("the bare server has no output")?;
        let mut limit = Self { process: Process::watch(child.id())?, child };
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        match port.trim().parse() {
            Ok(port) => Ok((limit, port)),
            Err(_) => {
                let status = limit.child.wait()?;
                anyhow::bail!("the bare server ended at once: {status}")
            }
        }
    }

    /// Returns CPU time used so far, seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(self.process.cpu().context("the bare server")?.as_secs_f64())
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
