//! What a closed socket means (`ops/protocol/native.md`, section 8). Pure.

use std::time::Duration;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const LATER_MIN: Duration = Duration::from_secs(5);
const LATER_MAX: Duration = Duration::from_secs(30);
/// 'At once' is spread a little: everybody lost the same node.
const AT_ONCE_MAX: Duration = Duration::from_millis(250);

/// A close without a code: the connection was lost.
pub(crate) const LOST: u16 = 1006;

/// What to do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Reconnect(Duration),
    /// Get a new token, then reconnect.
    Refresh,
    LogIn,
    Outdated,
    Stop,
}

/// Returns what to do after a close. `failures`: closes in a row before a socket had lived for a while; `chance` in [0, 1).
pub(crate) fn after_close(code: u16, failures: u32, chance: f64) -> Then {
    match code {
        4200 | 4201 => Then::Refresh,
        4202 => Then::LogIn,
        4203 => Then::Outdated,
        4204..4300 => Then::Stop,
        4100..4200 => Then::Reconnect(LATER_MIN + (LATER_MAX - LATER_MIN).mul_f64(chance)),
        // 'At once' a second time in a row isn't: whatever closes us would be asked without pause.
        1000 | 1001 | 4000..4100 if failures == 0 => Then::Reconnect(AT_ONCE_MAX.mul_f64(chance)),
        _ => Then::Reconnect(backoff(failures, chance)),
    }
}

/// Returns the time to wait before the next try: 1 s doubling to 30 s, of which half is chance.
pub(crate) fn backoff(failures: u32, chance: f64) -> Duration {
    let whole = BACKOFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    whole / 2 + (whole / 2).mul_f64(chance)
}

/// Returns a number in [0, 1), by chance.
pub(crate) fn chance() -> f64 {
    // Without randomness everybody waits equally long: worse, not wrong.
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / 4_294_967_296.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_ms(then: Then) -> u128 {
        match then {
            Then::Reconnect(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_say_whether_and_when_to_come_back() {
        assert_eq!(after_close(4200, 0, 0.5), Then::Refresh);
        assert_eq!(after_close(4201, 3, 0.5), Then::Refresh);
        assert_eq!(after_close(4202, 0, 0.5), Then::LogIn);
        assert_eq!(after_close(4203, 0, 0.5), Then::Outdated);
        assert_eq!(after_close(4250, 0, 0.5), Then::Stop);
        assert!((5000..=30_000).contains(&wait_ms(after_close(4100, 0, 0.0))));
        assert!((5000..=30_000).contains(&wait_ms(after_close(4102, 9, 0.999))));
        for code in [1001, 4001, 4002, 4050] {
            assert!(wait_ms(after_close(code, 0, 0.999)) < 250, "{code}");
            assert!(wait_ms(after_close(code, 1, 0.0)) >= 500, "{code}");
        }
        assert!(wait_ms(after_close(1011, 0, 0.0)) >= 500);
    }

    #[test]
    fn waits_double_to_half_a_minute_with_jitter() {
        assert_eq!(backoff(0, 0.0), Duration::from_millis(500));
        assert_eq!(backoff(2, 0.0), Duration::from_secs(2));
        assert_eq!(backoff(90, 0.0), Duration::from_secs(15));
        assert!(backoff(90, 0.999) <= BACKOFF_MAX);
        assert!((0.0..1.0).contains(&chance()));
    }
}
