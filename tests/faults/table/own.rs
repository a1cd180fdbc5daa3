//! Faults of this machine: names, threads, descriptors, the disk, the clock.

use crate::cell::Answer::{Failed, Good, Unasked};
use crate::cell::ErrorKind::{Connect, Internal, Timeout};
use crate::cell::{Call, NOT_SENT, Reach, Row, UNKNOWN, Wait, error, good, group, lookup, replied, row, unsent};
use crate::machine::Machine::{FullDisk, NoDescriptors, NoSuchName, NoThreads, SilentResolver, StandingClock};
use crate::peer::Fault::{Machine, SilentAnd};

pub fn rows() -> Vec<Row> {
    let no_name = row("no such name", Machine(NoSuchName), Failed, error(Connect), unsent(Connect, 5, NOT_SENT));
    // Name resolution may take 30 s, so the budget ends the send first.
    let no_resolver =
        row("a silent resolver", Machine(SilentResolver), Failed, error(Timeout), unsent(Timeout, 1, NOT_SENT));
    let internal =
        |name, what| row(name, what, Failed, error(Internal), unsent(Internal, 1, NOT_SENT)).reach(Reach::Nothing);
    // A background lookup that cannot run is not made, so nothing is remembered.
    let no_threads = internal("no threads", Machine(NoThreads)).but(Call::Nonblocking, lookup(Unasked));
    // The full disk is logged. The cursor is written once there is room again.
    let full = row("a full disk", Machine(FullDisk), Good, good(), replied());
    let standing = row("standing clocks", Machine(StandingClock), Good, good(), replied());
    // The kernel's clock runs on, and it times each read.
    let silent = row(
        "standing clocks, silent platform",
        SilentAnd(StandingClock),
        Failed,
        error(Timeout),
        unsent(Timeout, 5, UNKNOWN),
    );
    [
        group("its name does not resolve", [no_name.reach(Reach::Nothing)]),
        group("the resolver never answers", [no_resolver.reach(Reach::Nothing).wait(Wait::Budget)]),
        group("no threads available", [no_threads]),
        group("no file descriptors left", [internal("no descriptors", Machine(NoDescriptors))]),
        group("the disk is full", [full]),
        group("the clocks stand still", [standing]),
        group("the clocks stand still, and the platform is silent", [silent.wait(Wait::Silence).nothing_of_a_page()]),
    ]
    .concat()
}
