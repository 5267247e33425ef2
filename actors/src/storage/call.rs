//! One call of a store as a message: a name for metrics, and what to run.

use std::{future::Future, pin::Pin, sync::Arc};

use chinwag_schema::limits::storage::DEADLINE;
use tokio::sync::oneshot;

use crate::{
    breaker::Side,
    ports::{StoreError, StoreResult},
};

type Run<S> = Box<dyn FnOnce(Arc<S>) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send>;

/// A call of a store. Its caller hears the result through a channel of its own.
pub struct Call<S: ?Sized> {
    /// Name of the operation, for metrics and logs.
    pub name: &'static str,
    run: Run<S>,
}

/// Makes a call and the future of its result.
pub fn call<S, T, F>(
    name: &'static str,
    operation: impl FnOnce(Arc<S>) -> F + Send + 'static,
) -> (Call<S>, oneshot::Receiver<StoreResult<T>>)
where
    S: ?Sized + Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = StoreResult<T>> + Send,
{
    let (sender, receiver) = oneshot::channel();
    let run: Run<S> = Box::new(move |store| {
        Box::pin(async move {
            let result = match tokio::time::timeout(DEADLINE, operation(store)).await {
                Ok(result) => result,
                Err(_) => Err(StoreError::Unavailable(format!("{name} did not answer within {DEADLINE:?}"))),
            };
            let healthy = !matches!(result, Err(StoreError::Unavailable(_)));
            if let Err(error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_))) = &result {
                tracing::warn!(operation = name, %error, "a store call failed");
            }
            // Whoever asked may have gone.
            let _ = sender.send(result);
            healthy
        })
    });
    (Call { name, run }, receiver)
}

/// Beginnings of the names of operations that write.
const WRITES: [&str; 12] = [
    "add_",
    "append",
    "claim",
    "create_",
    "open_",
    "put_",
    "read_back",
    "remove_",
    "revoke_",
    "rotate_",
    "set_",
    "settle_",
];

/// Says which breaker an operation of this name goes through.
pub fn side_of(name: &str) -> Side {
    if WRITES.iter().any(|begin| name.starts_with(begin)) { Side::Writes } else { Side::Reads }
}

impl<S: ?Sized> Call<S> {
    /// Runs it; true if the store answered.
    pub fn run(self, store: Arc<S>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        (self.run)(store)
    }
}

/// Waits for a call's result; a call that was refused or dropped is unavailable.
pub async fn result<T>(receiver: oneshot::Receiver<StoreResult<T>>) -> StoreResult<T> {
    receiver
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("too many calls wait, or the breaker is open".into())))
}
