use std::thread;
use std::time::Duration;

use serde_json::Map;

use super::table::{GENERATIONS, MAX_BYTES, ONE_IN, PLACES, Slot};
use super::*;
use crate::peer::raw_key::same;
use crate::peer::record::Peer;
use crate::peer::state::Negative;

fn id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-{:012x}", n * 7)
}

fn filed(name: &str) -> CachedValue {
    let peer = PeerId::parse(&id(1)).unwrap();
    CachedValue::record(&Peer::discovered(peer, Map::from_iter([("name".to_owned(), name.into())]))).unwrap()
}

fn soon() -> CoarseInstant {
    CoarseInstant::now().plus(Duration::from_secs(60))
}

fn raw_key(text: &str) -> &RawKey {
    text.as_bytes().try_into().unwrap()
}

/// Asks until the front keeps it, as a thread that has it from the cache does.
fn kept(answers: &Answers, text: &str, filed: &CachedValue) {
    filed.state().visit();
    for _ in 0..ONE_IN {
        count(answers, Answered::Fresh);
        if should_keep() {
            keep(answers.id(), raw_key(text), soon(), filed.clone());
        }
    }
}

/// The handle that this thread's front gives.
fn lent(answers: &Answers, text: &str) -> Option<Peer> {
    match get_local_at(answers.id(), text, CoarseInstant::now()) {
        LocalAnswer::Found(peer) => Some(peer),
        LocalAnswer::Negative(_) | LocalAnswer::Miss(_) => None,
    }
}

/// How many handles there are, the test's own aside.
fn handles(filed: &CachedValue) -> usize {
    Arc::strong_count(&filed.0) - 1
}

#[test]
fn a_slot_is_a_cache_line() {
    assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (64, 64));
    assert_eq!(PLACES * size_of::<Slot>(), 128 * 1024);
}

#[test]
fn what_is_kept_is_lent_and_comes_back() {
    let (answers, filed) = (Answers::new(), filed("a"));
    kept(&answers, &id(1), &filed);
    assert_eq!(handles(&filed), 1);
    for _ in 0..3 {
        let peer = lent(&answers, &id(1)).expect("a handle");
        assert_eq!(handles(&filed), 1, "the same one");
        assert!(lent(&answers, &id(1)).is_none(), "it is lent");
        drop(peer);
    }
    assert_eq!(answers.totals()[0], u64::from(ONE_IN) + 3, "and each is counted");
}

#[test]
fn a_clone_is_no_loan() {
    let (answers, filed) = (Answers::new(), filed("a"));
    kept(&answers, &id(1), &filed);
    let peer = lent(&answers, &id(1)).unwrap();
    let clone = peer.clone();
    drop(peer);
    assert_eq!(handles(&filed), 2, "one in the front, and the clone");
    drop(clone);
    assert_eq!(handles(&filed), 1);
    assert!(lent(&answers, &id(1)).is_some());
}

#[test]
fn a_handle_does_not_come_back_to_a_place_that_is_anothers_by_now() {
    let (answers, one, other) = (Answers::new(), filed("one"), filed("other"));
    kept(&answers, &id(1), &one);
    let held = lent(&answers, &id(1)).unwrap();
    // The same peer has another record, in the same place.
    kept(&answers, &id(1), &other);
    drop(held);
    assert_eq!(handles(&one), 0);
    assert_eq!(lent(&answers, &id(1)).unwrap().name(), Some("other"));
    // And while that is lent, too.
    let held = lent(&answers, &id(1)).unwrap();
    kept(&answers, &id(1), &one);
    let newer = lent(&answers, &id(1)).unwrap();
    drop(held);
    assert_eq!(handles(&other), 0);
    drop(newer);
    assert_eq!(lent(&answers, &id(1)).unwrap().name(), Some("one"));
}

#[test]
fn a_handle_that_ends_on_another_thread_is_dropped_there() {
    let (answers, filed) = (Answers::new(), filed("a"));
    kept(&answers, &id(1), &filed);
    let peer = lent(&answers, &id(1)).unwrap();
    let (answers, filed) = (&answers, &filed);
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            // That thread has a front of its own, with the same place in it.
            kept(answers, &id(1), filed);
            let own = lent(answers, &id(1)).unwrap();
            drop(peer);
            assert!(lent(answers, &id(1)).is_none(), "its own is lent");
            drop(own);
        });
        // Its end, not only that of its work.
        other.join().unwrap();
    });
    assert_eq!(handles(filed), 0, "nor did the other thread leave any");
}

#[test]
fn what_is_called_back_or_too_old_is_no_answer() {
    let (answers, one, other) = (Answers::new(), filed("one"), filed("other"));
    kept(&answers, &id(1), &one);
    kept(&answers, &id(2), &other);
    let later = soon().plus(Duration::from_secs(1));
    assert!(matches!(get_local_at(answers.id(), &id(1), later), LocalAnswer::Miss(now) if now == later));
    one.state().invalidate();
    assert!(lent(&answers, &id(1)).is_none() && lent(&answers, &id(2)).is_some());
    // It is let go of at the next call that the front has no answer for.
    release_invalidated();
    count(&answers, Answered::Unknown);
    assert_eq!((handles(&one), handles(&other)), (0, 1));
}

#[test]
fn clients_do_not_see_each_others() {
    let (one, other, filed) = (Answers::new(), Answers::new(), filed("a"));
    kept(&one, &id(1), &filed);
    assert!(lent(&other, &id(1)).is_none());
    count(&other, Answered::Absent);
    assert!(lent(&other, &id(1)).is_none() && lent(&one, &id(1)).is_some());
    let nothing = CachedValue::nothing(Negative::Absent);
    kept(&other, &id(1), &nothing);
    assert!(matches!(get_local_at(other.id(), &id(1), CoarseInstant::now()), LocalAnswer::Negative(Negative::Absent)));
    assert!(lent(&one, &id(1)).is_some());
    assert_eq!((one.totals()[0], other.totals()[2]), (u64::from(ONE_IN) + 2, 2));
}

#[test]
fn an_id_and_its_text_are_spelt_apart() {
    // A text whose bytes are those of an id, as far as texts can have them.
    let peer = PeerId::parse("61626364-6566-6768-696a-6b6c6d6e6f70").unwrap();
    assert!(std::str::from_utf8(&of_id(peer)).is_err());
    assert!(!same(&of_id(peer), &of_id(PeerId::parse(&id(1)).unwrap())));
}

#[test]
fn only_the_whole_text_is_the_same() {
    let text = id(0xabc);
    for at in 0..36 {
        let mut other = *raw_key(&text);
        other[at] ^= 1;
        assert!(!same(&other, raw_key(&text)), "{at}");
    }
    assert!(same(raw_key(&text), raw_key(&text.clone())));
}

/// Old peers that nobody calls back do not keep new ones out.
#[test]
fn a_full_front_makes_room_for_who_is_busy_now() {
    let answers = Answers::new();
    let old: Vec<CachedValue> = (0..1_000).map(|_| filed(&"x".repeat(4_096))).collect();
    old.iter().enumerate().for_each(|(n, filed)| kept(&answers, &id(n), filed));
    for n in 5_000..5_020 {
        let busy = filed(&"x".repeat(4_096));
        kept(&answers, &id(n), &busy);
        assert!(lent(&answers, &id(n)).is_some(), "{n}");
    }
    let huge = filed(&"x".repeat(MAX_BYTES / 2));
    kept(&answers, &id(6_000), &huge);
    assert!(lent(&answers, &id(6_000)).is_none(), "but not for one that takes half of it");
    assert!(with(|front| front.bytes).unwrap() <= MAX_BYTES);
}

#[test]
fn what_is_lent_keeps_its_place() {
    let (answers, filed) = (Answers::new(), filed("a"));
    kept(&answers, &id(1), &filed);
    let held = lent(&answers, &id(1)).unwrap();
    release_invalidated();
    count(&answers, Answered::Unknown);
    drop(held);
    assert!(lent(&answers, &id(1)).is_some());
}

/// More peers than there are places, each with a record: memory stays within its bounds, and handles find home.
#[test]
fn more_peers_than_places_stay_within_the_memory() {
    let answers = Answers::new();
    let big: Vec<CachedValue> = (0..3_000).map(|_| filed(&"x".repeat(4_096))).collect();
    for (n, filed) in big.iter().enumerate() {
        kept(&answers, &id(n), filed);
    }
    let held = big.iter().filter(|filed| handles(filed) > 0).count();
    assert!((150..=MAX_BYTES / 4_096).contains(&held), "{held}");
    big.iter().for_each(|filed| filed.state().invalidate());
    release_invalidated();
    count(&answers, Answered::Unknown);
    assert!(big.iter().all(|filed| handles(filed) == 0));
    assert_eq!(with(|front| front.bytes), Some(0));
}

#[test]
fn a_thread_that_runs_out_of_generations_takes_another_number() {
    let (answers, filed) = (Answers::new(), filed("a"));
    kept(&answers, &id(1), &filed);
    let held = lent(&answers, &id(1)).unwrap();
    let number = with(|front| {
        front.generation = GENERATIONS;
        front.thread
    });
    kept(&answers, &id(2), &filed);
    assert_ne!(with(|front| front.thread), number);
    assert_eq!(with(|front| front.generation), Some(1));
    drop(held);
    assert_eq!(handles(&filed), 1, "nobody takes it for his own");
    assert!(lent(&answers, &id(1)).is_none() && lent(&answers, &id(2)).is_some());
}

#[test]
fn a_thread_that_ends_leaves_nothing_though_its_handles_live_on() {
    let (answers, filed) = (Answers::new(), filed("a"));
    let held = thread::scope(|scope| {
        let asked = scope.spawn(|| {
            kept(&answers, &id(1), &filed);
            kept(&answers, &id(2), &filed);
            lent(&answers, &id(1)).unwrap()
        });
        asked.join().unwrap()
    });
    assert_eq!(handles(&filed), 1);
    drop(held);
    assert_eq!(handles(&filed), 0);
}

#[test]
fn no_count_is_lost_when_threads_end_and_clients_go() {
    let each: u64 = if cfg!(miri) { 100 } else { 10_000 };
    let (one, other) = (Answers::new(), Answers::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..each {
                    count(&one, if n % 4 == 0 { Answered::Absent } else { Answered::Fresh });
                    count(&other, Answered::Stale);
                }
            });
        }
    });
    count(&one, Answered::Unknown);
    assert_eq!(one.totals(), [6 * each, 0, 2 * each, 1]);
    assert_eq!(other.totals(), [0, 8 * each, 0, 0]);
    assert_eq!(one.totals(), [6 * each, 0, 2 * each, 1], "reading changes nothing");
}

#[test]
fn clients_that_are_gone_leave_nothing_in_a_thread() {
    for _ in 0..1_000 {
        count(&Answers::new(), Answered::Fresh);
    }
    count(&Answers::new(), Answered::Fresh);
    assert!(with(|front| front.others.len()).unwrap() <= 2);
}
