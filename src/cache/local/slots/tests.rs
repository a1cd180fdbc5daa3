use std::thread;
use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::cache::local::raw_key::of_id;
use crate::cache::local::{count, get_at, keep, with_local};
use crate::peer::{PeerId, PeerName};

fn id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-{:012x}", n * 7)
}

fn value(name: &str) -> CachedValue {
    let peer = PeerId::parse(&id(1)).unwrap();
    CachedValue::record(&Peer::discovered(peer, Map::from_iter([("name".to_owned(), name.into())])))
}

fn soon() -> CoarseInstant {
    CoarseInstant::now().plus(Duration::from_secs(60))
}

fn raw_key(text: &str) -> &RawKey {
    text.as_bytes().try_into().unwrap()
}

/// Counts answers until one of them is to be kept, and keeps this value.
fn keep_value(answers: &Answers, text: &str, value: &CachedValue) {
    value.state().visit();
    // The first answer only registers the thread.
    for _ in 0..=KEEP_ONE_IN {
        if count(answers, Answered::Fresh) {
            keep(answers.id(), PeerName::Text(text), soon(), value.clone());
        }
    }
}

/// Returns what this thread's cache has of a text.
fn found(answers: &Answers, text: &str) -> Option<Peer> {
    match get_at(answers.id(), text, CoarseInstant::now()) {
        LocalAnswer::Found(peer) => Some(peer),
        LocalAnswer::Absent | LocalAnswer::Failed | LocalAnswer::Miss(_) => None,
    }
}

/// References to a record besides those of the test's own value and its handle. A slot has two: its value and a handle.
fn references(value: &CachedValue) -> usize {
    value.references() - 2
}

#[test]
fn slots_and_their_handles_take_less_than_128_kib() {
    assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (64, 64));
    let handle = Peer::HANDLE_BYTES;
    assert_eq!(handle, 56, "64 bytes with the header of an allocator");
    assert!(SLOTS * (size_of::<Slot>() + handle) + size_of::<LocalCache>() < 127 * 1024);
}

#[test]
fn every_hit_gets_a_clone_of_the_threads_own_handle() {
    let (answers, value) = (Answers::new(), value("a"));
    keep_value(&answers, &id(1), &value);
    assert_eq!(references(&value), 2);
    let counted = answers.totals()[0];
    let held: Vec<Peer> = (0..3).map(|_| found(&answers, &id(1)).expect("a hit")).collect();
    assert_eq!(references(&value), 2, "no hit touches the record's own counter");
    assert_eq!(answers.totals()[0], counted + 3);
    drop(held);
    assert!(found(&answers, &id(1)).is_some());
}

#[test]
fn clones_of_a_handle_outlive_its_slot() {
    let (answers, one, other) = (Answers::new(), value("one"), value("other"));
    keep_value(&answers, &id(1), &one);
    let held = found(&answers, &id(1)).unwrap();
    let clone = held.clone();
    keep_value(&answers, &id(1), &other);
    assert_eq!((held.name(), clone.name()), (Some("one"), Some("one")));
    assert_eq!(found(&answers, &id(1)).unwrap().name(), Some("other"));
    assert_eq!(references(&one), 1, "the handle that is held");
    drop((held, clone));
    assert_eq!(references(&one), 0);
}

#[test]
fn handle_of_a_replaced_value_is_reused_only_if_no_caller_holds_it() {
    let (answers, values) = (Answers::new(), ["a", "b", "c"].map(value));
    for value in &values {
        keep_value(&answers, &id(1), value);
    }
    assert_eq!(values.each_ref().map(references), [0, 0, 2]);
    let held = found(&answers, &id(1)).unwrap();
    keep_value(&answers, &id(1), &values[0]);
    assert_eq!(held.name(), Some("c"));
    assert_eq!(values.each_ref().map(references), [2, 0, 1]);
    assert_eq!(found(&answers, &id(1)).unwrap().name(), Some("a"));
}

#[test]
fn handle_can_be_dropped_on_another_thread() {
    let (answers, value) = (Answers::new(), value("a"));
    keep_value(&answers, &id(1), &value);
    let peer = found(&answers, &id(1)).unwrap();
    let (answers, value) = (&answers, &value);
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            keep_value(answers, &id(1), value);
            assert_eq!(references(value), 4, "that thread has its own handle");
            drop(peer);
            assert!(found(answers, &id(1)).is_some());
        });
        // Waits until the thread has ended, not only its closure.
        other.join().unwrap();
    });
    assert_eq!(references(value), 2, "the other thread left nothing");
    assert!(found(answers, &id(1)).is_some());
}

#[test]
fn invalidated_or_expired_values_are_no_answers() {
    let (answers, one, other) = (Answers::new(), value("one"), value("other"));
    keep_value(&answers, &id(1), &one);
    keep_value(&answers, &id(2), &other);
    one.state().invalidate();
    assert!(found(&answers, &id(1)).is_none() && found(&answers, &id(2)).is_some());
    release_invalidated();
    assert_eq!(references(&one), 2, "kept until this thread's next answer of a shared cache");
    count(&answers, Answered::Unknown);
    assert_eq!((references(&one), references(&other)), (0, 2));
    let later = soon().plus(Duration::from_secs(1));
    assert!(matches!(get_at(answers.id(), &id(2), later), LocalAnswer::Miss(now) if now == later));
    assert_eq!(references(&other), 0, "dropped once it has expired");
}

/// At one tick the thread does not read the time again. The next tick may come after a suspend.
#[test]
fn values_expire_at_the_first_call_of_a_tick() {
    let (answers, early, late) = (Answers::new(), value("early"), value("late"));
    keep_value(&answers, &id(1), &early);
    keep_value(&answers, &id(2), &late);
    let get = |text: &str, tick: Tick| {
        with_local(|local| local.get(answers.id(), raw_key(text), tick)).unwrap().map(|answer| match answer {
            LocalAnswer::Found(_) => Ok(()),
            LocalAnswer::Miss(now) => Err(now),
            LocalAnswer::Absent | LocalAnswer::Failed => panic!("a record"),
        })
    };
    let (tick, now) = (Tick::now(), CoarseInstant::now());
    assert_eq!(get(&id(1), tick), None, "the time of this tick is not known yet");
    with_local(|local| local.set_time(tick, now));
    assert_eq!((get(&id(1), tick), get(&id(2), tick), get(&id(3), tick)), (Some(Ok(())), Some(Ok(())), Some(Err(now))));
    assert_eq!(get(&id(1), Tick::NEVER), None);
    // The first one has expired by then, and the other one has not.
    let slots = |until: CoarseInstant| {
        let update = |local: &mut LocalCache| {
            let set = set_of(local.seed_of_cache, raw_key(&id(2)));
            let sets = local.sets.as_mut().unwrap();
            sets[set].iter_mut().filter(|slot| slot.key == *raw_key(&id(2))).for_each(|slot| slot.until = until);
        };
        with_local(update);
    };
    let later = soon().plus(Duration::from_secs(1));
    slots(later.plus(Duration::from_secs(1)));
    with_local(|local| local.set_time(tick, later));
    assert_eq!((get(&id(1), tick), get(&id(2), tick)), (Some(Err(later)), Some(Ok(()))));
    assert_eq!((references(&early), references(&late)), (0, 2));
    let end = later.plus(Duration::from_secs(1));
    with_local(|local| local.set_time(tick, end));
    assert_eq!((get(&id(2), tick), references(&late)), (Some(Err(end)), 0));
}

#[test]
fn unvisited_record_is_a_miss_that_marks_it_as_visited() {
    let (answers, value) = (Answers::new(), value("a"));
    keep_value(&answers, &id(1), &value);
    assert!(value.state().take_visited());
    assert!(found(&answers, &id(1)).is_none() && found(&answers, &id(1)).is_some());
    assert!(value.state().take_visited());
}

#[test]
fn clients_do_not_see_each_others_answers() {
    let (one, other, value) = (Answers::new(), Answers::new(), value("a"));
    keep_value(&one, &id(1), &value);
    assert!(found(&other, &id(1)).is_none());
    count(&other, Answered::Absent);
    assert!(found(&other, &id(1)).is_none() && found(&one, &id(1)).is_some());
    keep_value(&other, &id(1), &CachedValue::negative(Negative::Absent));
    assert!(matches!(get_at(other.id(), &id(1), CoarseInstant::now()), LocalAnswer::Absent));
    assert!(found(&one, &id(1)).is_some());
    assert_eq!((one.totals()[0], other.totals()[2]), (u64::from(KEEP_ONE_IN) + 1 + 2, 2));
}

#[test]
fn no_text_has_the_key_of_an_id() {
    // The text whose bytes are nearest to those of the id.
    let peer = PeerId::parse("61626364-6566-6768-696a-6b6c6d6e6f70").unwrap();
    assert!(std::str::from_utf8(&of_id(peer)).is_err());
    assert!(!is_equal(&of_id(peer), &of_id(PeerId::parse(&id(1)).unwrap())));
}

#[test]
fn keys_are_equal_only_if_all_bytes_are() {
    let text = id(0xabc);
    for at in 0..36 {
        let mut other = *raw_key(&text);
        other[at] ^= 1;
        assert!(!is_equal(&other, raw_key(&text)), "{at}");
    }
    assert!(is_equal(raw_key(&text), raw_key(&text.clone())));
}

/// Ids that differ after the first eight bytes only: about one in a set's two ways has the same start as the other.
#[test]
fn keys_with_the_same_start_are_told_apart() {
    let (answers, many) = (Answers::new(), if cfg!(miri) { 20 } else { 2_000 });
    let text = |n: usize| format!("00000000-0000-4000-8000-{n:012x}");
    let value = value("a");
    for n in 0..many {
        keep_value(&answers, &text(n), &value);
        assert!(found(&answers, &text(n)).is_some(), "{n}");
    }
    // Whatever is still there is there under its own key.
    let kept = (0..many).filter(|n| found(&answers, &text(*n)).is_some()).count();
    assert_eq!(references(&value), 2 * kept);
    assert!(cfg!(miri) || kept > SLOTS / 2, "{kept}");
}

/// Old values that nothing invalidates do not keep new ones out.
#[test]
fn busy_peers_displace_idle_ones_within_the_memory_bound() {
    let answers = Answers::new();
    let idle: Vec<CachedValue> = (0..1_000).map(|_| value(&"x".repeat(4_096))).collect();
    idle.iter().enumerate().for_each(|(n, value)| keep_value(&answers, &id(n), value));
    for n in 5_000..5_020 {
        let busy = value(&"x".repeat(4_096));
        keep_value(&answers, &id(n), &busy);
        assert!(found(&answers, &id(n)).is_some(), "{n}");
    }
    let huge = value(&"x".repeat(MAX_BYTES / 2));
    keep_value(&answers, &id(6_000), &huge);
    assert!(found(&answers, &id(6_000)).is_none(), "but not for one that takes half of it");
    assert!(with_local(|local| local.bytes).unwrap() <= MAX_BYTES);
}

#[test]
fn release_keeps_what_is_live_though_callers_hold_it() {
    let (answers, value) = (Answers::new(), value("a"));
    keep_value(&answers, &id(1), &value);
    let held = found(&answers, &id(1)).unwrap();
    release_invalidated();
    count(&answers, Answered::Unknown);
    drop(held);
    assert!(found(&answers, &id(1)).is_some());
}

#[test]
fn more_peers_than_slots_stay_within_the_memory_bound() {
    let answers = Answers::new();
    let big: Vec<CachedValue> = (0..3_000).map(|_| value(&"x".repeat(4_096))).collect();
    for (n, value) in big.iter().enumerate() {
        keep_value(&answers, &id(n), value);
    }
    let held = big.iter().filter(|value| references(value) > 0).count();
    assert!((150..=MAX_BYTES / 4_096).contains(&held), "{held}");
    big.iter().for_each(|value| value.state().invalidate());
    release_invalidated();
    count(&answers, Answered::Unknown);
    assert!(big.iter().all(|value| references(value) == 0));
    assert_eq!(with_local(|local| local.bytes), Some(0));
}

#[test]
fn ended_thread_leaves_only_the_handles_that_callers_hold() {
    let (answers, value) = (Answers::new(), value("a"));
    let held = thread::scope(|scope| {
        let asked = scope.spawn(|| {
            keep_value(&answers, &id(1), &value);
            keep_value(&answers, &id(2), &value);
            found(&answers, &id(1)).unwrap()
        });
        asked.join().unwrap()
    });
    assert_eq!(references(&value), 1);
    drop(held);
    assert_eq!(references(&value), 0);
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
    assert!(with_local(|local| local.others.len()).unwrap() <= 2);
}
