//! `chinwag copy`: the embedded store of a stopped server into the cluster that the settings name.

use std::{
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use chinwag_actors::{
    backends::{
        clustered::redis::RedisDirectory,
        copy::{self, CopyError, CopyOptions, Progress, Step, Summary},
        embedded::{BackupError, OpenError},
    },
    runtime::clock::SystemClock,
};

use crate::{
    auth::secret::Keys,
    backends::{ServiceError, postgres_options, redis_options, scylla_options},
    bootstrap::{Failure, exit},
    config::{Cluster, Config, MakeIfMissing, SecretSource},
};

/// Between two lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Copies the store in `from`, or goes on with a copy that was interrupted, and compares both.
///
/// # Errors
/// When the settings name no cluster; the store is in use or isn't there; the cluster isn't empty or its nodes run; a service can't be used;
/// or both aren't the same in the end.
pub fn run(config: &Config, from: &Path) -> Result<(), Failure> {
    let Some(cluster) = &config.cluster else {
        let error = anyhow!(
            "the settings name no cluster to copy to: give --to FILE, the settings file of a node, or --node, --postgres, --scylla, --redis \
             and --cluster-key-file"
        );
        return Err(Failure { code: exit::USAGE, error });
    };
    let summary = actix_rt::System::new().block_on(copied(config, cluster, from))?;
    say(&summary.to_string())?;
    if summary.differences_count > 0 {
        let error = anyhow!(
            "the copy is not what the store is: {}; the store was not marked, and no node starts on this cluster. See what changed it, empty \
             the database and the keyspace, and copy again",
            super::counted(summary.differences_count, "difference")
        );
        return Err(Failure { code: exit::FAILED, error });
    }
    say(&format!("{}{}", moved(cluster, from), keys(config, from)))
}

async fn copied(config: &Config, cluster: &Cluster, from: &Path) -> Result<Summary, Failure> {
    let service = |error: ServiceError| Failure::new(exit::SERVICE, error);
    let redis = redis_options(cluster).map_err(|error| service(error.into()))?;
    let directory = RedisDirectory::connect(&redis).await.map_err(|error| service(error.into()))?;
    let options = CopyOptions {
        from: from.to_owned(),
        postgres: postgres_options(cluster),
        scylla: scylla_options(config, cluster),
    };
    let teller = Teller::default();
    copy::copy(&options, &directory, &SystemClock, &|progress| teller.tell(progress)).await.map_err(failure)
}

fn failure(error: CopyError) -> Failure {
    let code = match &error {
        CopyError::Source(
            BackupError::Open(OpenError::InUse { .. } | OpenError::NewerSchema { .. } | OpenError::Store { .. })
            | BackupError::NoStore(_),
        ) => exit::DATA,
        CopyError::NodesRunning
        | CopyError::CopyRunning { .. }
        | CopyError::NotEmpty { .. }
        | CopyError::OtherSource { .. }
        | CopyError::MovedElsewhere { .. }
        | CopyError::Done { .. } => exit::REFUSED,
        CopyError::Postgres(_) | CopyError::Scylla(_) | CopyError::OtherLog { .. } | CopyError::Store { .. } => {
            exit::SERVICE
        }
        CopyError::Source(_) => exit::FAILED,
    };
    Failure::new(code, error)
}

/// Says how far a copy is, now and then, a line each.
#[derive(Default)]
struct Teller(Mutex<Option<(Step, Instant)>>);

impl Teller {
    fn tell(&self, progress: Progress) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((step, at)) = *told
            && step == progress.step
            && at.elapsed() < TELL_EVERY
            && progress.done < progress.of
        {
            return;
        }
        *told = Some((progress.step, Instant::now()));
        let Progress { done, of, .. } = progress;
        let what = match progress.step {
            Step::Accounts => "accounts, conversations, members",
            Step::Messages => "messages",
            Step::Verifying => "comparing",
        };
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "{what}: {done} of {of} rows");
    }
}

fn moved(cluster: &Cluster, from: &Path) -> String {
    format!(
        "the store in {} is in the cluster now, whole: accounts in {}, messages in the keyspace {}\n\
         it is marked as moved: {} says where; start the nodes of the cluster\n",
        from.display(),
        cluster.postgres,
        cluster.scylla.keyspace,
        from.join("moved").display(),
    )
}

/// Says whether access tokens that were given out before stay good.
fn keys(config: &Config, from: &Path) -> String {
    let path = from.join("secret");
    let source = SecretSource::File { path: path.clone(), make_if_missing: MakeIfMissing::No };
    let Ok(old) = Keys::load(&source) else {
        return format!(
            "there are no usable keys in {}: if the server had others (--secret-file), give them to every node, or clients renew or log in \
             again\n",
            path.display()
        );
    };
    let new = Keys::load(&config.secret).ok();
    let stays = new.is_some_and(|new| old.keys.all().iter().all(|key| new.keys.all().contains(key)));
    if stays {
        return "access tokens stay good: the nodes have the keys that signed them\n".to_owned();
    }
    format!(
        "access tokens are signed by the keys in {}, which these settings don't have: copy that file to every node and name it with \
         --secret-file, or all clients renew their token or log in again\n",
        path.display()
    )
}

fn say(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::new(exit::FAILED, error))
}
