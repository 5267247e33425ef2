//! `report`: writes the HTML of a stored result again, as this version of the program shows it.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

use super::{html, model::Report};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The result (JSON)
    result: PathBuf,
    /// Where to write the report
    #[arg(long)]
    html: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let page = html::render(&Report::read(&options.result)?);
    fs::write(&options.html, page).with_context(|| format!("can't write {}", options.html.display()))
}
