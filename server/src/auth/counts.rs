//! How often what was asked of the accounts, and how it ended: for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_schema::error::{ClientError, ErrorCode};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Register,
    Login,
    Refresh,
    Logout,
    ChangePassword,
    Ticket,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The client's fault.
    Refused,
    /// A rate was exceeded.
    Limited,
    /// Our fault: too busy, or the store didn't answer.
    Failed,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::Register, Self::Login, Self::Refresh, Self::Logout, Self::ChangePassword, Self::Ticket];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Logout => "logout",
            Self::ChangePassword => "change_password",
            Self::Ticket => "ticket",
        }
    }
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Limited, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }

    fn of<T>(result: &Result<T, ClientError>) -> Self {
        match result.as_ref().err().map(|error| error.code) {
            None => Self::Done,
            Some(ErrorCode::RateLimited) => Self::Limited,
            Some(code) if code.retryable() => Self::Failed,
            Some(_) => Self::Refused,
        }
    }
}

/// The counts of one node since its start.
#[derive(Default)]
pub struct Counts([[AtomicU64; Outcome::ALL.len()]; Operation::ALL.len()]);

/// One count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub operation: &'static str,
    pub outcome: &'static str,
    pub count: u64,
}

impl Counts {
    /// Counts how an operation ended and passes the result on.
    pub fn ended<T>(&self, operation: Operation, result: Result<T, ClientError>) -> Result<T, ClientError> {
        self.0[operation as usize][Outcome::of(&result) as usize].fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Returns all counts, zeros included.
    pub fn all(&self) -> Vec<Count> {
        let of = |operation: Operation, outcome: Outcome| Count {
            operation: operation.as_str(),
            outcome: outcome.as_str(),
            count: self.0[operation as usize][outcome as usize].load(Ordering::Relaxed),
        };
        Operation::ALL.iter().flat_map(|&op| Outcome::ALL.iter().map(move |&outcome| of(op, outcome))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_how_they_ended() {
        let counts = Counts::default();
        let fail = |code| Err::<(), _>(ClientError::new(code, "x"));
        let _ = counts.ended(Operation::Login, Ok(()));
        let _ = counts.ended(Operation::Login, fail(ErrorCode::Unauthorized));
        let _ = counts.ended(Operation::Login, fail(ErrorCode::RateLimited));
        let _ = counts.ended(Operation::Login, fail(ErrorCode::Unavailable));
        let _ = counts.ended(Operation::Login, fail(ErrorCode::Unavailable));
        let login: Vec<_> = counts.all().into_iter().filter(|count| count.operation == "login").collect();
        assert_eq!(
            login.iter().map(|count| (count.outcome, count.count)).collect::<Vec<_>>(),
            [("done", 1), ("refused", 1), ("limited", 1), ("failed", 2)]
        );
        assert_eq!(counts.all().len(), 24);
    }
}
