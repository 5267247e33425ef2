//! The spam rules of the rooms dialect (`dialect-rooms`, 'Limits and rules').
//!
//! [`tripped`] is pure; [`Recent`] keeps, per user, digests of the last five messages that passed, never their text.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use chinwag_schema::{ids::UserId, limits::text::CONTENT_MAX_CHARS};
use tokio::time::Instant;

use super::rates::lock;

/// Own messages with which a new one is compared.
const RECENT_MESSAGES: usize = 5;
/// Fewest words among which one can be too frequent.
const WORDS_MIN: usize = 5;
/// One word more than this share of all, percent.
const WORD_SHARE_MAX_PERCENT: usize = 40;
/// Only texts of more characters are judged by their capitals.
const CAPITALS_MIN_CHARS: usize = 10;
const CAPITALS_SHARE_MAX_PERCENT: usize = 90;
/// Share of the length limit, percent.
const LENGTH_MAX_PERCENT: usize = 80;

/// Hosts that hide where a link leads.
const SHORTENERS: [&str; 16] = [
    "bit.ly",
    "tinyurl.com",
    "t.co",
    "goo.gl",
    "ow.ly",
    "is.gd",
    "buff.ly",
    "adf.ly",
    "bit.do",
    "cutt.ly",
    "rb.gy",
    "shorturl.at",
    "tiny.cc",
    "v.gd",
    "s.id",
    "t.ly",
];

/// Which rules count, and how many must trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpamSettings {
    pub words: bool,
    pub capitals: bool,
    pub repeats: bool,
    pub links: bool,
    pub length: bool,
    /// A message is refused when at least so many rules trip.
    pub trips: u32,
}

impl Default for SpamSettings {
    fn default() -> Self {
        Self { words: true, capitals: true, repeats: true, links: true, length: true, trips: 2 }
    }
}

/// Why a message looks like spam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpamReason {
    RepeatedWord,
    Capitals,
    RepeatedMessage,
    LinkShortener,
    Length,
}

impl SpamReason {
    /// Returns the reason as shown to the sender.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepeatedWord => "one word is repeated too often",
            Self::Capitals => "too many capital letters",
            Self::RepeatedMessage => "the same message was sent just before",
            Self::LinkShortener => "it contains a shortened link",
            Self::Length => "it is very long",
        }
    }
}

/// Returns the rules that a message trips; `repeats` says whether it is the same as one of the sender's last five.
pub fn tripped(settings: &SpamSettings, content: &str, repeats: bool) -> Vec<SpamReason> {
    let content = content.trim();
    let mut reasons = Vec::new();
    if settings.words && repeated_word(content) {
        reasons.push(SpamReason::RepeatedWord);
    }
    if settings.capitals && mostly_capitals(content) {
        reasons.push(SpamReason::Capitals);
    }
    if settings.repeats && repeats {
        reasons.push(SpamReason::RepeatedMessage);
    }
    if settings.links && shortened_link(content) {
        reasons.push(SpamReason::LinkShortener);
    }
    if settings.length && content.chars().count() * 100 > CONTENT_MAX_CHARS * LENGTH_MAX_PERCENT {
        reasons.push(SpamReason::Length);
    }
    reasons
}

fn repeated_word(content: &str) -> bool {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut total = 0;
    for word in content.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
        total += 1;
    }
    total >= WORDS_MIN && counts.values().any(|count| count * 100 > total * WORD_SHARE_MAX_PERCENT)
}

/// Blanks and digits count as characters that aren't capitals, as the dialect's rule says it.
fn mostly_capitals(content: &str) -> bool {
    let total = content.chars().count();
    let capitals = content.chars().filter(|c| c.is_uppercase()).count();
    total > CAPITALS_MIN_CHARS && capitals * 100 > total * CAPITALS_SHARE_MAX_PERCENT
}

/// Finds a shortener's host that stands by itself: neither `orbit.ly` nor `bit.lyrics` is one.
fn shortened_link(content: &str) -> bool {
    let content = content.to_ascii_lowercase();
    let of_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    content.split(|c: char| !of_host(c)).any(|host| {
        let host = host.trim_matches('.');
        SHORTENERS.contains(&host.strip_prefix("www.").unwrap_or(host))
    })
}

struct Digests {
    last: VecDeque<u64>,
    used_at: Instant,
}

/// Digests of each user's last messages.
pub(super) struct Recent {
    hasher: RandomState,
    max_users: usize,
    users: Mutex<HashMap<UserId, Digests>>,
    refused: AtomicU64,
}

impl Recent {
    pub(super) fn new(max_users: usize) -> Self {
        Self { hasher: RandomState::new(), max_users, users: Mutex::default(), refused: AtomicU64::new(0) }
    }

    pub(super) fn judge(
        &self,
        settings: &SpamSettings,
        user: UserId,
        content: &str,
        now: Instant,
    ) -> Result<(), Vec<SpamReason>> {
        let digest = self.hasher.hash_one(content.trim());
        let repeats = lock(&self.users).get(&user).is_some_and(|seen| seen.last.contains(&digest));
        // Outside the lock: a long text takes tens of microseconds.
        let reasons = tripped(settings, content, repeats);
        if !reasons.is_empty() && reasons.len() >= settings.trips as usize {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(reasons);
        }
        self.remember(user, digest, now);
        Ok(())
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn remember(&self, user: UserId, digest: u64, now: Instant) {
        let mut users = lock(&self.users);
        if users.len() >= self.max_users && !users.contains_key(&user) {
            forget_older_half(&mut users);
        }
        let seen = users.entry(user).or_insert_with(|| Digests { last: VecDeque::new(), used_at: now });
        if seen.last.len() == RECENT_MESSAGES {
            seen.last.pop_front();
        }
        seen.last.push_back(digest);
        seen.used_at = now;
    }
}

/// Makes room at once for many, so that the scan is rare.
fn forget_older_half(users: &mut HashMap<UserId, Digests>) {
    let mut times: Vec<Instant> = users.values().map(|seen| seen.used_at).collect();
    let middle = times.len() / 2;
    let (_, &mut median, _) = times.select_nth_unstable(middle);
    let mut spare = middle + 1;
    users.retain(|_, seen| {
        let goes = spare > 0 && seen.used_at <= median;
        spare -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reasons(content: &str) -> Vec<SpamReason> {
        tripped(&SpamSettings::default(), content, false)
    }

    #[test]
    fn each_rule_trips_just_past_its_bound() {
        assert_eq!(reasons("a a b c d"), [], "2 of 5 is 40 %");
        assert_eq!(reasons("a A a b c"), [SpamReason::RepeatedWord]);
        assert_eq!(reasons("a a a a"), [], "four words are too few");
        assert_eq!(reasons("ABCDEFGHIJ"), [], "ten characters are too few");
        assert_eq!(reasons("ABCDEFGHIJK"), [SpamReason::Capitals]);
        assert_eq!(reasons("ABCDEFGHIJKLMNOPQRst"), [], "exactly 90 %");
        assert_eq!(reasons(&"é".repeat(3276)), []);
        assert_eq!(reasons(&"é".repeat(3277)), [SpamReason::Length]);
    }

    #[test]
    fn shorteners_are_found_as_hosts_only() {
        for link in ["see http://bit.ly/x", "BIT.LY/abc", "(t.co)", "go to tinyurl.com.", "https://www.ow.ly/1"] {
            assert_eq!(reasons(link), [SpamReason::LinkShortener], "{link}");
        }
        for harmless in ["orbit.ly", "bit.lyrics", "t.com", "at.co", "bit ly"] {
            assert_eq!(reasons(harmless), [], "{harmless}");
        }
    }

    #[test]
    fn two_trips_refuse_and_one_does_not() {
        let (recent, now) = (Recent::new(10), Instant::now());
        let settings = SpamSettings::default();
        let judge = |text: &str| recent.judge(&settings, UserId(1), text, now);
        judge("READ THIS NOW http://x.example").unwrap();
        judge("look at http://bit.ly/x").unwrap();
        assert_eq!(judge("look at http://bit.ly/x"), Err(vec![SpamReason::RepeatedMessage, SpamReason::LinkShortener]));
        for n in 0..5 {
            judge(&format!("message {n}")).unwrap();
        }
        judge("look at http://bit.ly/x").expect("it is no longer one of the last five");
    }

    #[test]
    fn switched_off_rules_do_not_count() {
        let settings = SpamSettings { words: false, ..SpamSettings::default() };
        assert_eq!(
            tripped(&settings, "BUY BUY BUY BUY BUYBUYBUYBUYBUYBUYBUYBUYBUYBUYBUYBUYBUY", false),
            [SpamReason::Capitals]
        );
    }

    #[test]
    fn remembered_users_are_bounded() {
        let (recent, start) = (Recent::new(100), Instant::now());
        for user in 0..1000 {
            recent
                .judge(&SpamSettings::default(), UserId(user), "hello", start + Duration::from_secs(user as u64))
                .unwrap();
        }
        assert!(lock(&recent.users).len() <= 100);
        assert!(lock(&recent.users).contains_key(&UserId(999)));
    }
}
