//! What an error of the database means: for the caller, for a retry, for the connection.

use diesel::result::{DatabaseErrorKind as Kind, Error as DieselError};

use crate::ports::StoreError;

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The answer for the caller.
    Store(StoreError),
    /// Postgres took the transaction back because of another one: the same again may succeed.
    Again(String),
    /// The connection is gone; what was sent may have happened or not.
    Lost(String),
    /// This server takes no writes (any more): connect anew and find the one that does.
    ReadOnly,
}

/// Result of the work on one connection.
pub(super) type Outcome<T> = Result<T, Fault>;

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DieselError> for Fault {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::Store(StoreError::NotFound),
            DieselError::DatabaseError(kind, about) => {
                let said = about.message().to_owned();
                match kind {
                    Kind::ForeignKeyViolation => Self::Store(StoreError::NotFound),
                    Kind::SerializationFailure => Self::Again(said),
                    Kind::ReadOnlyTransaction => Self::ReadOnly,
                    Kind::ClosedConnection | Kind::UnableToSendCommand => Self::Lost(said),
                    Kind::Unknown => unknown(said),
                    _ => {
                        let constraint = about.constraint_name().unwrap_or("a constraint");
                        Self::Store(StoreError::Corrupt(format!("{constraint}: {said}")))
                    }
                }
            }
            DieselError::BrokenTransactionManager => Self::Lost("its state is unknown".to_owned()),
            other => Self::Store(StoreError::Corrupt(other.to_string())),
        }
    }
}

/// Sorts what diesel has no kind for. It doesn't hand the code on either, only the text, which is in the server's language
/// (`lc_messages`): in another one than English a deadlock isn't tried again but reported, and the rest reads less well.
fn unknown(said: String) -> Fault {
    if said.contains("deadlock detected") {
        Fault::Again(said)
    } else if said.contains("terminating connection") || said.contains("the database system is") {
        Fault::Lost(said)
    } else if said.contains("invalid page") {
        Fault::Store(StoreError::Corrupt(said))
    } else if said.contains("due to statement timeout") {
        Fault::Store(StoreError::Unavailable(format!(
            "Postgres gave a statement up after its time: {said}; if this goes on, look for locks and slow queries there"
        )))
    } else {
        Fault::Store(StoreError::Unavailable(format!("Postgres refused a statement: {said}")))
    }
}

/// Turns the violation of a unique key into 'already exists', where that is what it means.
pub(super) fn taken(error: DieselError) -> Fault {
    match error {
        DieselError::DatabaseError(Kind::UniqueViolation, _) => Fault::Store(StoreError::AlreadyExists),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, said: &str) -> Fault {
        DieselError::DatabaseError(kind, Box::new(said.to_owned())).into()
    }

    #[test]
    fn what_another_transaction_caused_is_tried_again() {
        assert!(matches!(fault(Kind::SerializationFailure, "x"), Fault::Again(_)));
        assert!(matches!(fault(Kind::Unknown, "deadlock detected"), Fault::Again(_)));
    }

    #[test]
    fn a_taken_name_is_only_what_the_statement_calls_one() {
        let violation = || DieselError::DatabaseError(Kind::UniqueViolation, Box::new("x".to_owned()));
        assert!(matches!(taken(violation()), Fault::Store(StoreError::AlreadyExists)));
        assert!(matches!(Fault::from(violation()), Fault::Store(StoreError::Corrupt(_))));
    }

    #[test]
    fn trouble_is_told_apart() {
        let gone = "terminating connection due to administrator command";
        assert!(matches!(fault(Kind::Unknown, gone), Fault::Lost(_)));
        assert!(matches!(fault(Kind::UnableToSendCommand, "connection closed"), Fault::Lost(_)));
        assert!(matches!(fault(Kind::ReadOnlyTransaction, "x"), Fault::ReadOnly));
        let full = fault(Kind::Unknown, "could not extend file: No space left on device");
        assert!(matches!(full, Fault::Store(StoreError::Unavailable(_))));
        assert!(matches!(fault(Kind::CheckViolation, "x"), Fault::Store(StoreError::Corrupt(_))));
        assert!(matches!(fault(Kind::ForeignKeyViolation, "x"), Fault::Store(StoreError::NotFound)));
    }
}
