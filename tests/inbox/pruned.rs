//! The platform prunes rows that were acknowledged after 7 days: the row that a poller begins behind may be among them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use a2a_blocking::PollerBuilder;
use serde_json::Value;

use crate::poll::{capture_log, drain, logged};
use crate::world::World;

fn builder(world: &World) -> PollerBuilder {
    capture_log();
    // A row is settled as soon as it was listed, so that the anchor moves.
    world.builder().late(Duration::ZERO)
}

/// Returns the id of the row that the cursor file names as the anchor.
fn saved_anchor(world: &World) -> String {
    let anchor = last_record(&world.cursor(), "anchor");
    anchor[0].as_str().unwrap().to_owned()
}

/// Returns the value of the last record of this kind in a cursor file.
fn last_record(cursor: &Path, kind: &str) -> Value {
    let lines = fs::read_to_string(cursor).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line.splitn(3, ' ').nth(2).unwrap()).unwrap());
    records.rev().find_map(|record| record.get(kind).cloned()).unwrap()
}

/// Makes a cursor file say that the inbox was last listed so many days before.
fn age(cursor: &Path, days: u32) {
    let listed = last_record(cursor, "listed");
    let (date, time) = listed.as_str().unwrap().split_once('T').unwrap();
    let mut parts = date.split('-').map(|part| part.parse::<u32>().unwrap());
    let [mut year, mut month, mut day] = [(); 3].map(|()| parts.next().unwrap());
    for _ in 0..days {
        day -= 1;
        if day == 0 {
            (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
            // It is up to three days earlier in a longer month.
            day = 28;
        }
    }
    let json = format!(r#"{{"listed":"{year:04}-{month:02}-{day:02}T{time}"}}"#);
    let line = format!("{} {:08x} {json}\n", json.len(), crc32(json.as_bytes()));
    OpenOptions::new().append(true).open(cursor).unwrap().write_all(line.as_bytes()).unwrap();
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn pruned_anchor_is_no_gap_where_the_inbox_was_listed_within_7_days() {
    let world = World::new("pruned");
    let mut poller = builder(&world).build().unwrap();
    for n in 0..3 {
        world.send(&format!("before {n}"));
        assert_eq!(drain(&mut poller), [format!("before {n}")]);
        let anchor = saved_anchor(&world);
        // At first while the poller is running, and then while it is down for some days.
        if n > 0 {
            drop(poller);
            age(&world.cursor(), 3 * (n - 1));
            poller = builder(&world).build().unwrap();
        }
        world.ops.prune();
        for text in ["new", "newer"] {
            world.send(text);
        }
        assert_eq!(drain(&mut poller), ["new", "newer"]);
        assert_eq!(logged(&["gap"]), 0);
        assert_ne!(saved_anchor(&world), anchor);
    }
}

#[test]
fn pruned_anchor_is_perhaps_a_gap_after_7_days() {
    let world = World::new("pruned");
    let mut poller = builder(&world).build().unwrap();
    world.send("before");
    assert_eq!(drain(&mut poller), ["before"]);
    drop(poller);
    let anchor = saved_anchor(&world);
    age(&world.cursor(), 8);
    world.ops.prune();
    world.send("new");
    let mut poller = builder(&world).build().unwrap();
    assert_eq!(drain(&mut poller), ["new"]);
    world.send("newer");
    assert_eq!(drain(&mut poller), ["newer"]);
    assert_eq!(logged(&["WARN", "perhaps a gap", "days ago", &anchor]), 1);
}
