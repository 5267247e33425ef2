//! What lies on the disk: the data directory, the store in it, the files with secrets.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chinwag_actors::backends::embedded::{self, SCHEMA_VERSION};

use super::{Finding, machine};
use crate::{
    auth::secret::Keys,
    config::{Config, MakeIfMissing, SecretSource},
};

const STORE: &str = "chinwag.db";

/// The data directory, its disk, and the store.
pub(super) fn data(config: &Config) -> Vec<Finding> {
    let data = &config.data;
    let about = format!("data directory {}", data.display());
    match fs::metadata(data) {
        Ok(found) if !found.is_dir() => {
            vec![Finding::fail(about, "is a file", "name a directory with --data")]
        }
        Ok(found) => {
            let mut findings = vec![directory(about, data, &found), machine::disk(data)];
            findings.extend(store(config));
            findings
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = nearest(data);
            let finding = if writable(&parent) {
                Finding::ok(about, "is made at the first start")
            } else {
                let advice =
                    format!("give this user the right to write in {}, or name another --data", parent.display());
                Finding::fail(about, "isn't there and can't be made", advice)
            };
            vec![finding, machine::disk(&parent)]
        }
        Err(error) => vec![Finding::fail(about, error.to_string(), "let this user read it, or name another --data")],
    }
}

fn directory(about: String, path: &Path, found: &fs::Metadata) -> Finding {
    let mode = found.mode() & 0o777;
    if !writable(path) {
        let advice =
            format!("let this user own it: chown -R {} {}", rustix::process::geteuid().as_raw(), path.display());
        return Finding::fail(about, "this user can't write in it", advice);
    }
    if mode & 0o077 != 0 {
        let found = format!("others may look into it (mode {mode:04o})");
        return Finding::warn(about, found, format!("chmod 700 {}", path.display()));
    }
    Finding::ok(about, format!("mode {mode:04o}, writable"))
}

fn writable(directory: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Returns the nearest directory above that is there.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// The embedded store: its file and its schema.
fn store(config: &Config) -> Vec<Finding> {
    let path = config.data.join(STORE);
    let about = format!("store {}", path.display());
    let Ok(found) = fs::metadata(&path) else { return vec![] };
    if config.cluster.is_some() {
        let advice = "nothing if it was moved already; else move it with `chinwag copy`";
        return vec![Finding::warn(about, "isn't used by a node of a cluster", advice)];
    }
    let mut findings = Vec::new();
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        let text = format!("others may read it (mode {mode:04o})");
        findings.push(Finding::warn(about.clone(), text, format!("chmod 600 {}", path.display())));
    }
    findings.push(match embedded::pending_migrations(&config.data) {
        Ok(pending) if pending.is_empty() => {
            Finding::ok(about, format!("{} MiB, schema version {SCHEMA_VERSION}", found.len() >> 20))
        }
        Ok(pending) => {
            let text = format!("lacks {}: {}", super::counted(pending.len() as u64, "migration"), pending.join(", "));
            Finding::warn(about, text, "the next start applies them; `chinwag backup` before lets you go back")
        }
        Err(error) => {
            Finding::fail(about, error.to_string(), "do what it says, or put a backup back with `chinwag restore`")
        }
    });
    findings
}

/// Keys, certificates' keys and tokens: there, usable, and nobody else's to read.
pub(super) fn secrets(config: &Config) -> Vec<Finding> {
    let mut findings = vec![signing(config)];
    if let Some(cluster) = &config.cluster {
        // What is wrong with it refuses the settings already.
        findings.push(Finding::ok(format!("cluster key {}", cluster.key_file.display()), "mode 0600, 32 random bytes"));
    }
    if let Some(files) = &config.tls {
        let about = format!("TLS key {}", files.key.display());
        match fs::metadata(&files.key) {
            Ok(found) if found.mode() & 0o007 != 0 => {
                let text = format!("everybody may read it (mode {:04o})", found.mode() & 0o777);
                findings.push(Finding::warn(about, text, format!("chmod 600 {}", files.key.display())));
            }
            _ => {}
        }
    }
    findings
}

fn signing(config: &Config) -> Finding {
    let path = match &config.secret {
        SecretSource::Given(_) => {
            let from =
                if config.cluster.is_some() { "given, or made from the cluster key" } else { "from CHINWAG_SECRET" };
            return match Keys::load(&config.secret) {
                Ok(_) => Finding::ok("signing key", from),
                Err(error) => Finding::fail(
                    "signing key",
                    error.to_string(),
                    "set CHINWAG_SECRET to the output of: openssl rand -hex 32",
                ),
            };
        }
        SecretSource::File { path, make_if_missing: MakeIfMissing::Yes } if !path.exists() => {
            return Finding::ok(format!("signing keys {}", path.display()), "are made at the first start");
        }
        SecretSource::File { path, .. } => path,
    };
    let about = format!("signing keys {}", path.display());
    // It is there, so nothing is made.
    let source = SecretSource::File { path: path.clone(), make_if_missing: MakeIfMissing::No };
    match Keys::load(&source) {
        Ok(loaded) => Finding::ok(
            about,
            format!("{}, nobody else may read them", super::counted(loaded.keys.all().len() as u64, "key")),
        ),
        Err(error) => Finding::fail(
            about,
            error.to_string(),
            "mend the file, or correct --secret-file; without it everybody logs in again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::Level, *};

    fn config(data: &Path) -> Config {
        let flags = crate::config::settings::Flags { data: vec![data.display().to_string()], ..Default::default() };
        crate::config::load(&flags, [], data.parent().unwrap()).unwrap().config
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_data_directory_is_made_private_or_complained_about() {
        let place = tempfile::tempdir().unwrap();
        let data_path = place.path().join("data");
        assert_eq!(data(&config(&data_path))[0].found, "is made at the first start");
        fs::create_dir(&data_path).unwrap();
        fs::set_permissions(&data_path, fs::Permissions::from_mode(0o755)).unwrap();
        let found = data(&config(&data_path));
        assert!(found[0].level == Level::Warn && found[0].advice.as_deref().unwrap().starts_with("chmod 700"));
        fs::set_permissions(&data_path, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(data(&config(&data_path))[0].level, Level::Ok);
    }

    #[test]
    fn an_exposed_or_broken_secret_fails_and_none_is_made() {
        let place = tempfile::tempdir().unwrap();
        let config = config(place.path());
        assert_eq!(levels(&secrets(&config)), [Level::Ok]);
        let secret = place.path().join("secret");
        assert!(!secret.exists(), "a look makes nothing");
        fs::write(&secret, crate::hex::encode(&crate::hex::random_32())).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(levels(&secrets(&config)), [Level::Fail]);
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(levels(&secrets(&config)), [Level::Ok]);
    }

    #[test]
    fn a_store_says_which_migrations_it_lacks() {
        let place = tempfile::tempdir().unwrap();
        let config = config(place.path());
        assert!(store(&config).is_empty(), "there is none yet");
        embedded::migrate(place.path()).unwrap();
        assert_eq!(levels(&store(&config)), [Level::Ok]);
        fs::write(place.path().join(STORE), vec![7; 8192]).unwrap();
        assert_eq!(levels(&store(&config)), [Level::Fail], "this is no store");
    }
}
