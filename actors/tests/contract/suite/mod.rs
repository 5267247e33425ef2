//! What any backend must do.
//!
//! Each test gets a backend of its own, with nothing in it. `$make` is an async function that returns a fixture: something that
//! keeps the backend alive and has it in a field (`store`, `directory`, `bus`).

pub mod accounts;
pub mod bus;
pub mod cursors;
pub mod directory;
pub mod messages;
pub mod model;
pub mod nodes;
pub mod pages;
pub mod races;
pub mod retention;
pub mod totals;

use chinwag_actors::ports::message_store::{Append, Appended, MessageStore, NewBody, NewEvent};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, EventId, Seq, Term, UserId},
};
use uuid::Uuid;

/// Makes one test of each named function.
macro_rules! contract_tests {
    ($make:path, $field:ident, $module:path: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                use $module as suite_module;
                let fixture = $make().await;
                suite_module::$name(&fixture.$field).await;
            }
        )*
    };
}
pub(crate) use contract_tests;

macro_rules! message_store_contract {
    ($make:path) => {
        $crate::suite::contract_tests!($make, store, crate::suite::messages:
            a_conversation_never_written_to_is_empty,
            seqs_are_contiguous_and_totals_run,
            conversations_of_one_call_stand_or_fall_alone,
            a_smaller_term_or_another_head_is_fenced,
            ids_that_do_not_grow_are_refused,
            a_repeat_gives_the_first_row,
            a_repeat_within_one_group_gives_the_first_row,
            repeats_that_race_are_stored_once,
            the_same_client_id_of_another_sender_is_no_repeat,
            a_repeat_of_an_edited_message_is_compared_with_the_first_text,
            edits_change_the_row_and_leave_an_event,
            deletions_blank_the_row_and_leave_an_event,
            changes_without_a_target_append_nothing,
            any_text_comes_back_as_it_was,
            the_epoch_stays,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::pages:
            pages_forward_and_backward_are_ascending_and_say_when_complete,
            pages_of_messages_skip_the_rest,
            pages_of_one_conversation_show_nothing_of_its_neighbours,
            events_are_found_by_id,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::totals:
            totals_are_exact_at_every_position,
            totals_of_rare_senders_are_exact_far_from_their_messages,
            own_totals_and_heads_come_in_the_order_asked_for,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::retention:
            retention_removes_a_prefix_in_slices,
            totals_survive_retention,
            a_log_emptied_by_retention_goes_on,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::model: a_store_does_what_a_naive_model_does);
    };
}
pub(crate) use message_store_contract;

macro_rules! account_store_contract {
    ($make:path) => {
        $crate::suite::contract_tests!($make, store, crate::suite::accounts:
            names_are_unique_and_case_sensitive,
            users_are_found_and_paged,
            a_new_password_voids_what_was_issued,
            a_ban_voids_what_was_issued,
            last_seen_only_moves_forward,
            refresh_tokens_rotate_and_reuse_revokes_the_family,
            racing_rotations_of_one_token_have_one_winner,
            expired_and_unknown_refresh_tokens_are_refused,
            revoked_access_tokens_are_listed_until_they_expire,
            room_names_are_unique_but_group_names_are_not,
            rooms_are_paged_by_id,
            a_pair_has_one_chat_even_when_both_open_it_at_once,
            members_come_and_go,
            memberships_are_paged_and_leave_out_those_leaving,
            memberships_have_a_bound,
            who_connects_gets_memberships_with_those_they_are_with,
            names_that_cannot_exist_are_not_found,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::nodes:
            nodes_keep_their_numbers_for_ever,
            new_nodes_at_once_get_different_numbers,
            id_reservations_only_grow,
            terms_only_grow,
            a_term_found_in_the_log_is_stepped_over,
            the_logs_epoch_is_decided_once,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::races:
            chats_opened_by_many_at_once_are_made_once,
            joins_at_once_stop_at_the_users_bound,
            a_member_put_by_many_at_once_is_counted_once,
            a_token_rotated_by_many_at_once_has_one_winner,
            a_rotation_beside_a_revocation_leaves_no_token,
            cursors_put_from_many_sides_at_once_end_at_the_furthest,
        );
        $crate::suite::contract_tests!($make, store, crate::suite::cursors:
            cursors_move_forward_per_pointer,
            racing_cursors_end_at_the_furthest,
            a_cursor_ends_with_its_membership,
        );
    };
}
pub(crate) use account_store_contract;

macro_rules! directory_contract {
    ($make:path) => {
        $crate::suite::contract_tests!($make, directory, crate::suite::directory:
            node_leases_run_out,
            a_node_has_one_life_until_its_lease_ends,
            a_shard_has_one_owner_until_its_lease_ends,
            claims_are_answered_in_the_order_asked_for,
            only_the_owner_can_release_a_shard,
            leaving_ends_shards_and_registrations,
            an_earlier_life_ends_nothing_of_the_next,
            users_are_located_on_nodes_whose_leases_run,
            thousands_are_put_and_located_at_once,
            a_guests_name_has_one_holder_until_it_runs_out,
            only_its_holder_can_release_a_guests_name,
        );
    };
}
pub(crate) use directory_contract;

macro_rules! bus_contract {
    ($make:path) => {
        $crate::suite::contract_tests!($make, bus, crate::suite::bus:
            envelopes_arrive_in_order,
            many_are_sent_at_once_in_order,
            any_payload_arrives_as_it_was_and_a_huge_one_is_refused,
            a_full_mailbox_refuses_and_recovers,
            a_broadcast_reaches_everyone,
            a_later_subscription_replaces_the_mailbox,
            each_life_of_a_node_has_its_own_mailbox,
            a_mailbox_ends_when_it_is_closed_or_dropped,
        );
    };
}
pub(crate) use bus_contract;

/// When the tests' events happen: later than anything that retention tests remove.
pub const NOW_MS: i64 = 1_800_000_000_000;

/// Makes a message.
pub fn message(id: i64, sender: i64, client_id: Option<u128>, content: &str) -> NewEvent {
    let client_id = client_id.map(Uuid::from_u128);
    new_event(id, sender, NewBody::Message { client_id, content: content.into() })
}

/// Makes an event at [`NOW_MS`] + id.
pub fn new_event(id: i64, sender: i64, body: NewBody) -> NewEvent {
    NewEvent {
        id: EventId(id),
        at_ms: NOW_MS + id,
        sender: UserId(sender),
        sender_name: format!("user {sender}").into(),
        body,
    }
}

/// An owner of one conversation, as the engine is one: it knows the head and makes ids.
pub struct Log<'a, S> {
    pub store: &'a S,
    pub conversation: ConversationId,
    pub term: Term,
    pub head: Seq,
    last_id: i64,
}

impl<'a, S: MessageStore> Log<'a, S> {
    pub fn new(store: &'a S, conversation: i64) -> Self {
        Self { store, conversation: ConversationId(conversation), term: Term(1), head: Seq::ZERO, last_id: 0 }
    }

    pub fn next_id(&mut self) -> i64 {
        self.last_id += 10;
        self.last_id
    }

    /// Appends, and follows the head.
    pub async fn append(&mut self, events: Vec<NewEvent>) -> Vec<Appended> {
        self.last_id = events.iter().map(|event| event.id.0).fold(self.last_id, i64::max);
        let group = Append { conversation: self.conversation, term: self.term, head: self.head, events };
        let appended = self.store.append(vec![group]).await.unwrap().remove(0).unwrap();
        self.head.0 += appended.iter().filter(|one| matches!(one, Appended::New { .. })).count() as u64;
        appended
    }

    pub async fn append_one(&mut self, event: NewEvent) -> Appended {
        self.append(vec![event]).await.remove(0)
    }

    /// Sends a text without a client id; returns its row.
    pub async fn say(&mut self, sender: i64, content: &str) -> LogEvent {
        let id = self.next_id();
        new(self.append_one(message(id, sender, None, content)).await)
    }

    pub async fn everything(&self) -> Vec<LogEvent> {
        use chinwag_actors::ports::message_store::{Direction, Filter};
        let page = self.store.page(self.conversation, Direction::After(Seq::ZERO), 4000, Filter::All).await.unwrap();
        assert!(page.complete);
        page.events
    }
}

/// Returns the event of what must have been appended.
pub fn new(appended: Appended) -> LogEvent {
    match appended {
        Appended::New { event, .. } => event,
        other => panic!("not appended: {other:?}"),
    }
}
