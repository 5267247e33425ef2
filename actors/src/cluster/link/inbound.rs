//! What one side of a link hears: parcels in order, those behind a hole, and the acknowledgement that it owes.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use chinwag_schema::limits::link::{ACK_AFTER, ACK_AFTER_ENVELOPES, AHEAD_MAX_BYTES, IN_FLIGHT_MAX};

/// The receiving half of a link. Lives as long as one session.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Everything up to this number was handed out.
    upto: u64,
    /// What arrived of the numbers after `upto`; the first is always missing.
    ahead: VecDeque<Option<Bytes>>,
    ahead_bytes: usize,
    unacknowledged: u32,
    ack_at: Option<Duration>,
}

/// What became of a parcel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was the next one: these payloads can be handed out, in order.
    InOrder(Vec<Bytes>),
    /// It waits for those before it.
    Ahead,
    /// It was here before.
    Repeat,
    /// It is too far ahead to be kept; it will come again.
    Beyond,
}

impl Inbound {
    /// Takes a parcel.
    pub fn take(&mut self, number: u64, payload: Bytes, now: Duration) -> Taken {
        let Some(place) = number.checked_sub(self.upto + 1) else {
            self.owe_ack(Duration::ZERO);
            return Taken::Repeat;
        };
        if place > 0 {
            // Something is missing: say so at once.
            self.owe_ack(Duration::ZERO);
        }
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= IN_FLIGHT_MAX || (place > 0 && self.ahead_bytes + payload.len() > AHEAD_MAX_BYTES) {
            return Taken::Beyond;
        }
        while self.ahead.len() <= place {
            self.ahead.push_back(None);
        }
        if self.ahead[place].is_some() {
            return Taken::Repeat;
        }
        self.ahead_bytes += payload.len();
        self.ahead[place] = Some(payload);
        if place > 0 {
            return Taken::Ahead;
        }
        let mut ready = Vec::new();
        while let Some(Some(_)) = self.ahead.front() {
            let payload = self.ahead.pop_front().flatten().expect("it was just seen");
            self.ahead_bytes -= payload.len();
            self.upto += 1;
            self.unacknowledged += 1;
            ready.push(payload);
        }
        self.owe_ack(if self.unacknowledged >= ACK_AFTER_ENVELOPES { Duration::ZERO } else { now + ACK_AFTER });
        Taken::InOrder(ready)
    }

    /// The other side says which number it used last.
    pub fn announced(&mut self, last: u64) {
        if last > self.upto + self.ahead.len() as u64 {
            self.owe_ack(Duration::ZERO);
        }
    }

    /// An acknowledgement is to be sent by `at`, if not earlier.
    pub fn owe_ack(&mut self, at: Duration) {
        self.ack_at = Some(self.ack_at.map_or(at, |before| before.min(at)));
    }

    /// Returns by when an acknowledgement is to be sent.
    pub fn ack_at(&self) -> Option<Duration> {
        self.ack_at
    }

    /// Returns `ack` and `held` of an envelope.
    pub fn acknowledgement(&self) -> (u64, u64) {
        let ahead = self.ahead.iter().skip(1).enumerate().filter(|(_, parcel)| parcel.is_some());
        (self.upto, ahead.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }

    /// The acknowledgement went out.
    pub fn acknowledged(&mut self) {
        self.unacknowledged = 0;
        self.ack_at = None;
    }

    /// Returns the bytes kept behind a hole.
    pub fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn parcel(n: u8) -> Bytes {
        Bytes::copy_from_slice(&[n])
    }

    #[test]
    fn what_comes_out_of_order_is_handed_out_in_order_and_once() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.take(3, parcel(3), NOW), Taken::Ahead);
        assert_eq!(inbound.take(2, parcel(2), NOW), Taken::Ahead);
        assert_eq!(inbound.take(5, parcel(5), NOW), Taken::Ahead);
        assert_eq!(inbound.take(5, parcel(5), NOW), Taken::Repeat);
        assert_eq!(inbound.acknowledgement(), (0, 0b1011), "2, 3 and 5");
        assert_eq!(inbound.take(1, parcel(1), NOW), Taken::InOrder(vec![parcel(1), parcel(2), parcel(3)]));
        assert_eq!(inbound.acknowledgement(), (3, 0b1));
        assert_eq!(inbound.take(2, parcel(2), NOW), Taken::Repeat);
        assert_eq!(inbound.take(4, parcel(4), NOW), Taken::InOrder(vec![parcel(4), parcel(5)]));
        assert_eq!((inbound.acknowledgement(), inbound.ahead_bytes()), ((5, 0), 0));
    }

    #[test]
    fn what_is_kept_behind_a_hole_is_bounded() {
        let mut inbound = Inbound::default();
        let last = IN_FLIGHT_MAX as u64;
        assert_eq!(inbound.take(last, parcel(1), NOW), Taken::Ahead);
        assert_eq!(inbound.acknowledgement(), (0, 1 << 62));
        assert_eq!(inbound.take(last + 1, parcel(1), NOW), Taken::Beyond);
        assert_eq!(inbound.take(u64::MAX, parcel(1), NOW), Taken::Beyond);
        let large = Bytes::from(vec![0; AHEAD_MAX_BYTES]);
        assert_eq!(inbound.take(2, large.clone(), NOW), Taken::Beyond, "with the one kept, too many bytes");
        assert!(matches!(inbound.take(1, large, NOW), Taken::InOrder(_)), "the next one is never refused");
    }

    #[test]
    fn an_acknowledgement_waits_for_company_unless_something_is_missing() {
        let mut inbound = Inbound::default();
        let all = u64::from(ACK_AFTER_ENVELOPES);
        for number in 1..all {
            inbound.take(number, parcel(0), NOW + Duration::from_millis(number));
            assert_eq!(inbound.ack_at(), Some(NOW + Duration::from_millis(1) + ACK_AFTER));
        }
        inbound.take(all, parcel(0), NOW);
        assert_eq!(inbound.ack_at(), Some(Duration::ZERO), "enough gathered");
        inbound.acknowledged();
        assert_eq!(inbound.ack_at(), None);
        for number in [all + 2, all] {
            inbound.take(number, parcel(0), NOW);
            assert_eq!(inbound.ack_at(), Some(Duration::ZERO), "a hole, then a repeat");
            inbound.acknowledged();
        }
        inbound.announced(all + 2);
        assert_eq!(inbound.ack_at(), None);
        inbound.announced(all + 3);
        assert_eq!(inbound.ack_at(), Some(Duration::ZERO), "the other side sent more than came");
    }
}
