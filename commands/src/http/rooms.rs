//! Rooms full of participants, in simulated time: the rates, the bounds and the queue are the real ones, the verifier takes a
//! fixed time for each submission.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use domain::Challenge;
use domain::challenge::Venues;
use domain::queue::FairQueue;

use super::*;

/// The time in which everybody submits.
const LASTING_S: u32 = 600;

/// The number of steps in a second.
const STEPS: u32 = 10;

/// The number of submissions that are verified at the same time, and the steps that each takes: four a second.
const SLOTS: usize = 8;
const VERIFICATION: u32 = 2 * STEPS;

/// The steps between two submissions of a participant: as many as an owner may.
const PAUSE: u32 = 6 * STEPS;

/// The results of one participant.
#[derive(Default, Clone, Copy)]
struct Got {
    accepted: u32,
    verdicts: u32,
    /// The sum of the waits of the submissions with a verdict, in steps.
    waited: u32,
}

/// A participant: the owner, the address, and the number of requests at once, every so many steps from a first one on.
#[derive(Clone)]
struct Client {
    owner: String,
    address: IpAddr,
    at_once: u32,
    every: u32,
    first: u32,
    /// True for a stranger that gives each submission an owner of its own.
    invents: bool,
}

struct Simulation {
    limits: RateLimits,
    venues: Venues,
    queue: FairQueue,
    start: Instant,
    position: u64,
    sent: BTreeMap<SubmissionId, (String, u32)>,
    /// The submissions under way, each with the step of its end.
    under_way: VecDeque<(u32, SubmissionId)>,
    got: BTreeMap<String, Got>,
    /// False for a queue in which each owner has its own line, wherever it is.
    has_lanes: bool,
}

impl Simulation {
    fn new(venues: Venues) -> Self {
        let (by_address, by_owner) = (Some(RateLimit::BY_ADDRESS), Some(RateLimit::BY_OWNER));
        Self {
            limits: RateLimits::new(by_address, by_owner, WaitingSubmissions::default()),
            venues,
            queue: FairQueue::default(),
            start: Instant::now(),
            position: 0,
            sent: BTreeMap::new(),
            under_way: VecDeque::new(),
            got: BTreeMap::new(),
            has_lanes: true,
        }
    }

    /// Lets all clients submit, and returns the results of each owner.
    fn run(mut self, clients: &[Client]) -> BTreeMap<String, Got> {
        for step in 0..LASTING_S * STEPS {
            for (n, client) in (0..).zip(clients) {
                // Not all at the same moment.
                if step >= client.first && (step + n) % client.every == 0 {
                    (0..client.at_once).for_each(|_| self.submit(client, step));
                }
            }
            self.verify(step);
        }
        self.got
    }

    /// Takes the steps of `accept` that decide about a share.
    fn submit(&mut self, client: &Client, step: u32) {
        let now = self.start + Duration::from_secs(1) * step / STEPS;
        let Client { owner, address, .. } = client;
        let invented = format!("{owner}{}", self.position);
        let named = if client.invents { &invented } else { owner };
        let address_of_client = ClientAddress::from(*address);
        let network = Share::of_address(&self.venues, address_of_client);
        let membership = self.venues.belonging(&Default::default(), Some(*address)).unwrap();
        let share = Share::of_membership(membership.as_ref(), address_of_client);
        self.position += 1;
        let id = SubmissionId(Uuid::from_u128(self.position.into()));
        let admitted = self
            .limits
            .admit_submission(&network, Some(named), address_of_client, now)
            .and_then(|()| self.limits.admit_owner(named, address_of_client, now))
            .and_then(|()| self.limits.admit_waiting(id, share, named));
        let Ok(place) = admitted else { return };
        let lane = place.lane().filter(|_| self.has_lanes);
        self.queue.enqueue(id, lane.unwrap_or(named), self.position);
        place.keep();
        self.sent.insert(id, (owner.clone(), step));
        self.got.entry(owner.clone()).or_default().accepted += 1;
    }

    fn verify(&mut self, step: u32) {
        while let Some((_, id)) = self.under_way.front().copied().filter(|(end, _)| *end <= step) {
            self.under_way.pop_front();
            self.queue.remove(id);
            self.limits.waiting.forget(id);
            let (owner, since) = self.sent.remove(&id).unwrap();
            let got = self.got.get_mut(&owner).unwrap();
            got.verdicts += 1;
            got.waited += step - since;
        }
        while self.under_way.len() < SLOTS {
            let Some(id) = self.queue.candidates().next() else { return };
            self.position += 1;
            self.queue.claim(id, self.position);
            self.under_way.push_back((step + VERIFICATION, id));
        }
    }
}

fn berlin() -> Venues {
    let venue = "[[venues]]\nname = \"berlin\"\ntitle = \"Berlin\"\nlocation = \"Berlin, DE\"\n\
                 networks = [\"203.0.113.7\"]";
    let file = format!("{}\n{venue}", include_str!("../../../domain/challenges/birthday.toml"));
    Challenge::parse(&file).unwrap().venues
}

fn client(owner: &str, address: impl Into<IpAddr>) -> Client {
    Client {
        owner: owner.to_owned(),
        address: address.into(),
        at_once: 1,
        every: PAUSE,
        first: 0,
        invents: false,
    }
}

/// Returns a hundred participants, and one elsewhere.
fn hundred_and_one(address: impl Fn(u8) -> [u8; 4]) -> Vec<Client> {
    let hundred = (0..100).map(|n| client(&format!("owner{n}"), address(n)));
    hundred.chain([client("alone", [192, 0, 2, 1])]).collect()
}

fn in_berlin(_: u8) -> [u8; 4] {
    [203, 0, 113, 7]
}

/// Returns the summed results of the hundred, and the results of the owner with this name.
fn summed(got: &BTreeMap<String, Got>, one: &str) -> (Got, Got) {
    let hundred = got.iter().filter(|(owner, _)| owner.starts_with("owner"));
    let sum = hundred.fold(Got::default(), |sum, (_, got)| Got {
        accepted: sum.accepted + got.accepted,
        verdicts: sum.verdicts + got.verdicts,
        waited: sum.waited + got.waited,
    });
    (sum, got[one])
}

fn mean_wait_s(got: Got) -> f64 {
    f64::from(got.waited) / f64::from(got.verdicts) / f64::from(STEPS)
}

#[test]
fn a_hundred_behind_one_address_get_what_a_hundred_addresses_get_and_one_elsewhere_waits_no_longer() {
    let room = Simulation::new(berlin()).run(&hundred_and_one(in_berlin));
    let apart = Simulation::new(Venues::default()).run(&hundred_and_one(|n| [198, 51, 100, n]));
    let ((room, alone), (apart, even)) = (summed(&room, "alone"), summed(&apart, "alone"));
    println!("the room: {} accepted, {} verdicts", room.accepted, room.verdicts);
    println!("a hundred addresses: {} accepted, {} verdicts", apart.accepted, apart.verdicts);
    println!("the one: {} verdicts after {:.0} s beside the room", alone.verdicts, mean_wait_s(alone));
    println!("the one: {} verdicts after {:.0} s beside the others", even.verdicts, mean_wait_s(even));
    assert!(f64::from(room.verdicts) >= 0.9 * f64::from(apart.verdicts));
    assert!(f64::from(room.accepted) >= 0.9 * f64::from(apart.accepted));
    assert!(mean_wait_s(alone) <= mean_wait_s(even) + 1.0);
    // Everybody has the same number of turns.
    assert!(alone.verdicts >= (room.verdicts + alone.verdicts) / 101);
}

#[test]
fn a_laptop_that_posts_without_end_takes_its_own_share_of_the_room_and_no_more() {
    let mut clients = hundred_and_one(in_berlin);
    let quiet = Simulation::new(berlin()).run(&clients);
    // When all others wait. Before that it takes turns that nobody else asks for.
    clients.insert(0, Client { at_once: 10, every: 1, first: PAUSE, ..client("laptop", in_berlin(0)) });
    let loud = Simulation::new(berlin()).run(&clients);
    let ((others, laptop), (undisturbed, _)) = (summed(&loud, "laptop"), summed(&quiet, "alone"));
    println!("without the laptop: {} accepted, {} verdicts", undisturbed.accepted, undisturbed.verdicts);
    println!("beside the laptop: {} accepted, {} verdicts", others.accepted, others.verdicts);
    println!("the laptop: {} accepted, {} verdicts", laptop.accepted, laptop.verdicts);
    assert!(laptop.verdicts <= (others.verdicts + laptop.verdicts) / 101 + 1);
    assert_eq!(others.accepted, undisturbed.accepted);
    assert!(others.verdicts * 102 >= undisturbed.verdicts * 100);
}

#[test]
fn a_stranger_who_invents_owners_has_the_turns_of_an_address_and_no_more() {
    let run = |invents: bool, has_lanes| {
        // Less often than its turn comes, so that it waits for others and not for itself.
        let mut clients = vec![Client { every: 2 * PAUSE, ..client("alone", [192, 0, 2, 1]) }];
        if invents {
            // 50 requests a second, which the rate of an address permits.
            let stranger = Client { at_once: 5, every: 1, invents, ..client("stranger", [198, 51, 100, 1]) };
            clients.insert(0, stranger);
        }
        summed(&Simulation { has_lanes, ..Simulation::new(berlin()) }.run(&clients), "alone").1
    };
    let (quiet, flooded, without) = (run(false, true), run(true, true), run(true, false));
    println!("the one: {} verdicts after {:.1} s beside nobody", quiet.verdicts, mean_wait_s(quiet));
    println!(
        "the one: {} verdicts after {:.1} s beside the stranger",
        flooded.verdicts,
        mean_wait_s(flooded)
    );
    println!("the one: {} verdicts after {:.1} s without lanes", without.verdicts, mean_wait_s(without));
    // The stranger has at most 32 lines, of which four a second have their turn.
    assert!(mean_wait_s(flooded) <= 32.0 / 4.0 + 2.0 + 1.0);
    assert!(mean_wait_s(without) > 3.0 * mean_wait_s(flooded));
}
