//! Own work of a conversation: what it asked a store for and hasn't heard of yet.

use std::{future::Future, rc::Rc};

use super::{C, Ready, messages::ConversationMessage, policy::Policy};

/// Counts the work under way. While there is any, the conversation doesn't fall asleep: whoever waits for it would hear of an internal
/// error.
#[derive(Default)]
pub(super) struct Work(Rc<()>);

/// Work under way, until it is dropped.
pub(super) struct UnderWay(#[allow(dead_code, reason = "counted")] Rc<()>);

impl Work {
    /// Notes that work begins.
    pub(super) fn begin(&self) -> UnderWay {
        UnderWay(self.0.clone())
    }

    /// Says whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl Ready {
    /// Runs a future and tells this conversation what became of it, which stays awake for it ([`crate::runtime::Tools::pipe`]).
    pub(super) fn pipe<P, T, F>(&self, future: F, into: impl FnOnce(T) -> ConversationMessage + 'static, cx: &C<'_, P>)
    where
        P: Policy,
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let under_way = self.work.begin();
        cx.pipe(future, move |value| {
            drop(under_way);
            into(value)
        });
    }
}
