//! Who is in a community, where, and who writes: drawn from a seed. Pure.

use rand::{
    Rng, RngExt as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

use super::power_law::PowerLaw;
use crate::peer::Protocol;

/// Most rooms that one user listens to.
const ROOMS_EACH_MAX: usize = 4;

/// Fewest members of a group.
const GROUP_MIN: usize = 3;

/// What a community is to be like. The bounds are checked where the options are.
#[derive(Debug, Clone)]
pub struct Shape {
    pub users: usize,
    /// Share of the users who write; the others only listen and read.
    pub writers: f64,
    pub protocol: Protocol,
    /// Share of the users who speak one of the two other protocols instead.
    pub dialect_share: f64,
    pub rooms: usize,
    pub groups: usize,
    /// Members of the largest group; the n-th largest has an n-th of it.
    pub group_max: usize,
    /// Exponent of the rooms' sizes and of who writes how much.
    pub exponent: f64,
    pub seed: u64,
}

/// What a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Room,
    Group,
    Chat,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Spot {
    pub kind: Kind,
    /// People by their index; the first makes it, and reads its history at the end.
    pub people: Vec<usize>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct Person {
    pub protocol: Protocol,
    /// Has an account; the others are guests.
    pub account: bool,
    /// Conversations by their index.
    pub spots: Vec<usize>,
}

/// A user who writes in a conversation. Its index is the sender in marks, which so tells the conversation, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    pub person: usize,
    pub spot: usize,
}

/// All of a community.
#[derive(Debug, Clone)]
pub struct Plan {
    pub people: Vec<Person>,
    pub spots: Vec<Spot>,
    pub voices: Vec<Voice>,
}

impl Shape {
    /// Returns how many users write: one at least in each room.
    pub fn writer_count(&self) -> usize {
        ((self.users as f64 * self.writers).round() as usize).clamp(self.rooms, self.users)
    }

    /// Draws the community.
    pub fn draw(&self) -> Plan {
        let mut random = StdRng::seed_from_u64(self.seed);
        let people = self.people(&mut random);
        let mut plan = Plan { people, spots: Vec::new(), voices: Vec::new() };
        self.rooms(&mut plan, &mut random);
        if self.protocol != Protocol::Rooms {
            self.groups(&mut plan, &mut random);
            self.chats(&mut plan);
        }
        for (spot, Spot { people, .. }) in plan.spots.iter().enumerate() {
            let writers = people.iter().filter(|&&person| person < self.writer_count());
            plan.voices.extend(writers.map(|&person| Voice { person, spot }));
        }
        for (index, spot) in plan.spots.iter().enumerate() {
            spot.people.iter().for_each(|&person| plan.people[person].spots.push(index));
        }
        plan
    }

    /// Writers first, and of those first the makers of the rooms, who speak the run's own protocol.
    fn people(&self, random: &mut impl Rng) -> Vec<Person> {
        let others = [Protocol::Native, Protocol::Rooms, Protocol::Messenger];
        let others: Vec<_> = others.into_iter().filter(|protocol| *protocol != self.protocol).collect();
        let share = self.dialect_share * self.users as f64 / (self.users - self.rooms).max(1) as f64;
        let person = |index: usize| {
            let speaks_another = index >= self.rooms && random.random::<f64>() < share;
            let protocol = if speaks_another { others[index % others.len()] } else { self.protocol };
            let account = index < self.writer_count() || protocol == Protocol::Messenger;
            Person { protocol, account, spots: Vec::new() }
        };
        (0..self.users).map(person).collect()
    }

    fn rooms(&self, plan: &mut Plan, random: &mut impl Rng) {
        let popular = PowerLaw::new(self.rooms, self.exponent);
        let mut rooms: Vec<Vec<usize>> = (0..self.rooms).map(|maker| vec![maker]).collect();
        for (index, person) in plan.people.iter().enumerate() {
            // A socket of the rooms dialect is in one room, and a maker's is its own.
            let most = if person.protocol == Protocol::Rooms { 1 } else { random.random_range(1..=ROOMS_EACH_MAX) };
            for _ in usize::from(index < self.rooms)..most {
                let room = &mut rooms[popular.choose(random)];
                if !room.contains(&index) {
                    room.push(index);
                }
            }
        }
        plan.spots.extend(rooms.into_iter().map(|people| Spot { kind: Kind::Room, people }));
    }

    fn groups(&self, plan: &mut Plan, random: &mut impl Rng) {
        let able = plan.able();
        for rank in 1..=self.groups {
            let size = (self.group_max / rank).clamp(GROUP_MIN, self.group_max.max(GROUP_MIN));
            let mut people: Vec<usize> = able.sample(random, size).copied().collect();
            people.shuffle(random);
            // Somebody must have something to say.
            if people.iter().all(|&person| person >= self.writer_count()) {
                people.splice(..1, able.first().copied());
            }
            plan.spots.push(Spot { kind: Kind::Group, people });
        }
    }

    /// Every writer has a chat with the one before and the one after it.
    fn chats(&self, plan: &mut Plan) {
        let able: Vec<_> = plan.able().into_iter().filter(|&person| person < self.writer_count()).collect();
        let pairs = able.windows(2).map(|pair| Spot { kind: Kind::Chat, people: pair.to_vec() });
        plan.spots.extend(pairs);
    }
}

impl Plan {
    /// Returns who can be in groups and chats: accounts, in protocols that have them.
    fn able(&self) -> Vec<usize> {
        let able = |person: &&(usize, &Person)| person.1.account && person.1.protocol != Protocol::Rooms;
        self.people.iter().enumerate().filter(|person| able(&person)).map(|(index, _)| index).collect()
    }

    /// Returns the voices in conversations of a kind.
    pub fn voices_in(&self, kind: Kind) -> Vec<u32> {
        let here = self.voices.iter().enumerate().filter(|(_, voice)| self.spots[voice.spot].kind == kind);
        here.map(|(index, _)| index as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            users: 1000,
            writers: 0.2,
            protocol: Protocol::Native,
            dialect_share: 0.2,
            rooms: 50,
            groups: 20,
            group_max: 40,
            exponent: 1.0,
            seed: 7,
        }
    }

    fn sizes(plan: &Plan, kind: Kind) -> Vec<usize> {
        plan.spots.iter().filter(|spot| spot.kind == kind).map(|spot| spot.people.len()).collect()
    }

    #[test]
    fn rooms_and_groups_have_sizes_of_a_power_law() {
        let plan = shape().draw();
        let rooms = sizes(&plan, Kind::Room);
        assert_eq!(rooms.len(), 50);
        assert!(rooms[0] > 300 && rooms[0] > 5 * rooms[9] && rooms[49] < 40, "{rooms:?}");
        let groups = sizes(&plan, Kind::Group);
        assert_eq!((groups.len(), &groups[..4], groups[19]), (20, &[40, 20, 13, 10][..], 3));
    }

    #[test]
    fn a_seed_draws_the_same_community_again() {
        let text = |seed| format!("{:?}", Shape { seed, ..shape() }.draw());
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn everybody_is_where_its_protocol_allows() {
        let plan = shape().draw();
        let mut others = 0;
        for (index, person) in plan.people.iter().enumerate() {
            let kinds: Vec<_> = person.spots.iter().map(|&spot| plan.spots[spot].kind).collect();
            others += usize::from(person.protocol != Protocol::Native);
            match (person.protocol, person.account) {
                (Protocol::Rooms, _) => assert_eq!(kinds, [Kind::Room], "{index}"),
                (Protocol::Messenger, account) => assert!(account),
                (Protocol::Native, false) => assert!(kinds.iter().all(|kind| *kind == Kind::Room)),
                (Protocol::Native, true) => {}
            }
            assert!(kinds.contains(&Kind::Room));
        }
        assert!((150..250).contains(&others), "{others} of 1,000 speak a dialect");
        for (index, spot) in plan.spots.iter().enumerate() {
            let maker = &plan.people[spot.people[0]];
            assert!(maker.account && (spot.kind != Kind::Room || maker.protocol == Protocol::Native));
            assert!(plan.voices.iter().any(|voice| voice.spot == index), "nobody writes in {spot:?}");
        }
    }

    #[test]
    fn only_rooms_are_in_a_community_of_the_rooms_dialect() {
        let shape = Shape { protocol: Protocol::Rooms, dialect_share: 0.0, ..shape() };
        let plan = shape.draw();
        assert_eq!(plan.spots.len(), 50);
        assert!(plan.people.iter().all(|person| person.spots.len() == 1));
        assert!(plan.voices_in(Kind::Chat).is_empty());
        assert_eq!(plan.voices_in(Kind::Room).len(), 200);
    }
}
