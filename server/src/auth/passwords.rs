//! Password hashing: argon2id on a few threads of its own, so that sockets never wait for it.
//!
//! A bounded queue stands before the threads; beyond it callers hear 'retry later' at once. Unknown users cost the same time as known
//! ones: their password is compared with a hash that nobody's password has.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    limits::text::{PASSWORD_MAX_BYTES, PASSWORD_MIN_CHARS},
};
use tokio::sync::oneshot;

use crate::hex;

/// OWASP's parameters for argon2id: 19 MiB, two passes, one lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How long a caller that found the queue full should wait, ms: about a queue's worth of hashes.
const RETRY_AFTER_MS: u64 = 5000;

enum Job {
    Hash { password: String, answer: oneshot::Sender<String> },
    Verify { password: String, hash: Arc<str>, answer: oneshot::Sender<bool> },
}

/// The hashing threads. They end when this is dropped.
pub struct Passwords {
    queue: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    /// What unknown users are compared with.
    nobody: Arc<str>,
}

impl Passwords {
    /// Starts `threads` threads (19 MiB each while busy) before which at most `queue` jobs wait.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(threads: usize, queue: usize) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(queue.max(1));
        let (jobs, waiting) = (Arc::new(Mutex::new(jobs)), Arc::new(AtomicUsize::new(0)));
        for n in 0..threads.max(1) {
            let (jobs, waiting) = (jobs.clone(), waiting.clone());
            std::thread::Builder::new().name(format!("password-{n}")).spawn(move || work(&jobs, &waiting))?;
        }
        Ok(Self { queue, waiting, nobody: hash(&hex::encode(&hex::random_32())).into() })
    }

    /// Hashes a password to a PHC string.
    ///
    /// # Errors
    /// `Unavailable` when too many wait already.
    pub async fn hash(&self, password: &str) -> Result<String, ClientError> {
        let (answer, result) = oneshot::channel();
        self.enqueue(Job::Hash { password: password.to_owned(), answer })?;
        result.await.map_err(|_| ClientError::internal())
    }

    /// Says whether a password is the one of `hash`; without a hash (an unknown user) it takes as long and says no.
    ///
    /// # Errors
    /// `Unavailable` when too many wait already.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, ClientError> {
        let (answer, result) = oneshot::channel();
        let known = hash.is_some();
        let hash = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        self.enqueue(Job::Verify { password: password.to_owned(), hash, answer })?;
        let same = result.await.map_err(|_| ClientError::internal())?;
        Ok(same && known)
    }

    /// Returns how many jobs wait or are worked on.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn enqueue(&self, job: Job) -> Result<(), ClientError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let enqueued = self.queue.try_send(job).inspect_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        enqueued.map_err(|error| match error {
            TrySendError::Full(_) => ClientError::new(ErrorCode::Unavailable, "Too many logins at once, try again")
                .retry_after_ms(RETRY_AFTER_MS),
            TrySendError::Disconnected(_) => ClientError::internal(),
        })
    }
}

/// Checks the form of a new password: at least 6 characters, at most 1 KiB.
///
/// # Errors
/// `BadRequest` or `TooLarge`, naming `field` and the limit.
pub fn check_new(password: &str, field: &str) -> Result<(), ClientError> {
    check_length(password, field)?;
    if password.chars().count() < PASSWORD_MIN_CHARS {
        let text = "Password must be at least 6 characters long";
        return Err(ClientError::new(ErrorCode::BadRequest, text).field(field).limit(PASSWORD_MIN_CHARS as u64));
    }
    Ok(())
}

/// Checks that a password isn't longer than any can be: hashing it would only cost time.
///
/// # Errors
/// `TooLarge`, naming `field` and the limit.
pub fn check_length(password: &str, field: &str) -> Result<(), ClientError> {
    if password.len() > PASSWORD_MAX_BYTES {
        let text = format!("Password must be at most {PASSWORD_MAX_BYTES} bytes long");
        return Err(ClientError::new(ErrorCode::TooLarge, text).field(field).limit(PASSWORD_MAX_BYTES as u64));
    }
    Ok(())
}

/// Hashes on the caller's thread (tens of milliseconds): for commands, not for the server.
pub fn hash(password: &str) -> String {
    argon2id().hash_password(password.as_bytes()).expect("parameters and length are within argon2's bounds").to_string()
}

fn verify(password: &str, hash: &str) -> bool {
    match PasswordHash::new(hash) {
        // Takes the parameters of the hash: older ones stay valid.
        Ok(hash) => argon2id().verify_password(password.as_bytes(), &hash).is_ok(),
        Err(error) => {
            tracing::error!(%error, "a stored password hash is damaged");
            false
        }
    }
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constant parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn work(jobs: &Mutex<Receiver<Job>>, waiting: &AtomicUsize) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A caller that went away isn't worth the time.
            Ok(Job::Hash { password, answer }) if !answer.is_closed() => {
                let _ = answer.send(hash(&password));
            }
            Ok(Job::Verify { password, hash, answer }) if !answer.is_closed() => {
                let _ = answer.send(verify(&password, &hash));
            }
            Ok(_) => {}
            Err(_) => return,
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[actix_rt::test]
    async fn passwords_verify_and_others_do_not() {
        let passwords = Passwords::start(1, 4).unwrap();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.verify("correct horse", Some(&hash)).await, Ok(true));
        assert_eq!(passwords.verify("Correct horse", Some(&hash)).await, Ok(false));
        assert_eq!(passwords.verify("correct horse", Some("garbage")).await, Ok(false));
    }

    #[actix_rt::test]
    async fn unknown_users_take_as_long_as_known_ones() {
        let passwords = Passwords::start(1, 4).unwrap();
        let hash = passwords.hash("correct horse").await.unwrap();
        // The fastest of several: on a busy machine single times say little. Without the work for nobody's hash the two never meet.
        let mut times = [Duration::MAX; 2];
        for _ in 0..40 {
            for (fastest, hash) in times.iter_mut().zip([Some(hash.as_str()), None]) {
                let start = Instant::now();
                assert_eq!(passwords.verify("wrong one", hash).await, Ok(false));
                *fastest = (*fastest).min(start.elapsed());
            }
            if (0.8..1.25).contains(&(times[0].as_secs_f64() / times[1].as_secs_f64())) {
                return;
            }
        }
        panic!("known {:?}, unknown {:?}", times[0], times[1]);
    }

    #[actix_rt::test]
    async fn beyond_the_queue_callers_hear_retry_later_at_once() {
        let passwords = Passwords::start(1, 2).unwrap();
        // Again if this thread was stopped while it asked: meanwhile the other one makes room.
        let mut refused = Vec::new();
        for _ in 0..20 {
            let all = futures_util::future::join_all((0..20).map(|_| passwords.verify("x", None))).await;
            refused = all.into_iter().filter_map(Result::err).collect();
            if refused.len() >= 17 {
                break;
            }
        }
        assert!((17..20).contains(&refused.len()), "{}", refused.len());
        assert!(refused.iter().all(|e| e.code == ErrorCode::Unavailable && e.retry_after_ms == Some(RETRY_AFTER_MS)));
        assert_eq!(passwords.verify("x", None).await, Ok(false), "and later it works again");
        while passwords.waiting() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_form_of_new_passwords_is_checked_with_field_and_limit() {
        let short = check_new("12345", "password").unwrap_err();
        assert_eq!((short.message.as_str(), short.limit), ("Password must be at least 6 characters long", Some(6)));
        assert!(check_new("äöüäöü", "password").is_ok(), "characters, not bytes");
        assert!(check_new(&"x".repeat(1024), "password").is_ok());
        let long = check_new(&"x".repeat(1025), "password").unwrap_err();
        assert_eq!((long.code, long.field.as_deref(), long.limit), (ErrorCode::TooLarge, Some("password"), Some(1024)));
    }
}
