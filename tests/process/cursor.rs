//! The cursor's file: a callback that forks, a disk that is full, and one that fails.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use a2a_blocking::{ErrorKind, InboxPoller, Verdict};

use crate::alone;
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, Server, client, eventually};

fn poller(server: &Server, file: &Path) -> InboxPoller {
    InboxPoller::builder(client(server)).cursor_file(file).build().unwrap()
}

/// Polls once and returns the number of messages.
fn deliver(poller: &mut InboxPoller) -> usize {
    let mut delivered = 0;
    loop {
        let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
        delivered += polled.delivered;
        if !polled.has_more {
            return delivered;
        }
    }
}

/// Asserts that a new poller gets no message.
fn assert_all_saved(server: &Server, file: &Path) {
    poller(server, file).poll_once(|message| panic!("{message:?} again")).unwrap();
}

fn wait_for_child(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: this waits for our own child, and writes to one integer of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

/// Forks. In the child it sets an alarm, which ends a child that goes on.
fn fork() -> libc::pid_t {
    // SAFETY: the child's thread is the only one, and goes on in the poller, as a user's would.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: this ends the process if it hangs.
        unsafe { libc::alarm(30) };
    }
    child
}

#[test]
fn child_of_a_callback_that_forks_does_not_go_on_as_a_second_poller() {
    let _alone = alone();
    let (platform, dir) = (Platform::new(), Dir::new("cursor-fork"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 20, PEER);
    let (parent, child) = (process::id(), std::sync::Arc::new(AtomicI32::new(0)));
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let (child_of_callback, seen_by_callback) = (child.clone(), seen.clone());
    let running = poller(&server, &file).spawn(move |message| {
        if process::id() != parent {
            // SAFETY: this ends the child.
            unsafe { libc::_exit(9) };
        }
        seen_by_callback.lock().unwrap().push(message.text().to_owned());
        if message.text() == "message 103" {
            child_of_callback.store(fork(), SeqCst);
        }
        Verdict::Ack
    });
    let running = running.unwrap();
    eventually("all rows", || seen.lock().unwrap().len() == 20);
    assert_eq!(wait_for_child(child.load(SeqCst)), 0, "the child ends by itself, and delivers nothing");
    // The parent goes on, and its connections are open.
    platform.add(200 * SECOND, PEER, "later");
    eventually("a later row", || seen.lock().unwrap().last().is_some_and(|text| text == "later"));
    running.stop();
    assert_eq!(seen.lock().unwrap().len(), 21, "no row came twice");
    assert_all_saved(&server, &file);
}

#[test]
fn poll_of_a_forked_child_fails_and_changes_nothing() {
    let _alone = alone();
    let (platform, dir) = (Platform::new(), Dir::new("cursor-fork-once"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 5, PEER);
    let mut poller = poller(&server, &file);
    let (parent, mut child) = (process::id(), -1);
    let polled = poller.poll_once(|message| {
        if message.text() == "message 102" {
            child = fork();
        }
        Verdict::Ack
    });
    if process::id() != parent {
        let before = fs::read(&file).unwrap();
        let refusals = [polled.map(|_| ()), poller.poll_once(|_| Verdict::Ack).map(|_| ())];
        let is_refused = refusals.iter().all(|polled| {
            polled.as_ref().is_err_and(|error| {
                error.kind() == ErrorKind::Internal && error.to_string().contains(&format!("the process {parent}"))
            })
        });
        drop(poller);
        let is_unchanged = fs::read(&file).is_ok_and(|after| after.starts_with(&before));
        // SAFETY: this ends the child.
        unsafe { libc::_exit(if is_refused && is_unchanged { 0 } else { 9 }) };
    }
    assert_eq!(polled.unwrap().delivered, 5);
    assert_eq!(wait_for_child(child), 0);
    drop(poller);
    assert_all_saved(&server, &file);
}

/// True while no file can be synced, and while no data of a file can.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
static SYNC_FAILS: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn sync(call: libc::c_long, descriptor: libc::c_int, fails: &AtomicBool) -> libc::c_int {
    if fails.load(SeqCst) {
        // SAFETY: the place of this thread's error number.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    // SAFETY: what the function that this stands in for does.
    libc::c_int::try_from(unsafe { libc::syscall(call, descriptor) }).unwrap_or(-1)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: libc::c_int) -> libc::c_int {
    sync(libc::SYS_fsync, descriptor, &SYNC_FAILS[0])
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: libc::c_int) -> libc::c_int {
    sync(libc::SYS_fdatasync, descriptor, &SYNC_FAILS[1])
}

/// The system may have dropped what it could not write, and a later sync says nothing of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn after_a_sync_that_failed_nothing_more_is_appended() {
    let _alone = alone();
    let (platform, dir) = (Platform::new(), Dir::new("cursor-sync"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = poller(&server, &file);
    let mut second = 100;
    let mut deliver_one = |poller: &mut InboxPoller| {
        platform.fill(second, 1, PEER);
        second += 1;
        assert_eq!(deliver(poller), 1);
        (fs::metadata(&file).unwrap().ino(), fs::metadata(&file).unwrap().len(), poller.health().is_cursor_failing)
    };
    let first = deliver_one(&mut poller);
    let second = deliver_one(&mut poller);
    assert!(second.0 == first.0 && second.1 > first.1, "a line is appended");
    SYNC_FAILS[1].store(true, SeqCst);
    let third = deliver_one(&mut poller);
    assert!(third.0 != second.0 && !third.2, "a snapshot is written");
    SYNC_FAILS[0].store(true, SeqCst);
    let fourth = deliver_one(&mut poller);
    assert!(fourth.0 == third.0 && fourth.2, "no snapshot can be");
    for _ in 0..3 {
        assert_eq!(deliver_one(&mut poller), fourth, "nothing is appended");
    }
    SYNC_FAILS.iter().for_each(|fails| fails.store(false, SeqCst));
    let last = deliver_one(&mut poller);
    assert!(last.0 != fourth.0 && !last.2, "it is written again");
    let more = deliver_one(&mut poller);
    assert!(more.0 == last.0 && more.1 > last.1, "and appended to");
    drop(poller);
    assert_all_saved(&server, &file);
}

/// The directory is synced at the first creation, too.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn first_snapshot_is_on_the_disk_before_it_counts_as_written() {
    let _alone = alone();
    let (platform, dir) = (Platform::new(), Dir::new("cursor-first-sync"));
    let server = platform.serve();
    SYNC_FAILS[0].store(true, SeqCst);
    let builder = InboxPoller::builder(client(&server)).cursor_file(dir.file("c")).require_cursor(true);
    let refused = builder.build().unwrap_err();
    SYNC_FAILS[0].store(false, SeqCst);
    assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("cannot be written ("), "{refused}");
    assert!(!dir.file("c").exists() && !dir.file("c.new").exists());
}

/// Runs in a child process, since the limit is for all files of a process.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_child() {
    let Ok(dir) = env::var("A2A_TEST_FULL_DISK") else { return };
    let (platform, file) = (Platform::new(), Path::new(&dir).join("c"));
    let server = platform.serve();
    let mut poller = poller(&server, &file);
    platform.fill(100, 1, PEER);
    assert_eq!(deliver(&mut poller), 1);
    let before = fs::read(&file).unwrap();
    // A part of the next line fits.
    limit_files(before.len() as u64 + 50);
    platform.fill(101, 600, PEER);
    assert_eq!(deliver(&mut poller), 600);
    assert!(poller.health().is_cursor_failing);
    assert!(fs::read(&file).unwrap() == before, "half a line is cut off");
    limit_files(libc::RLIM_INFINITY);
    platform.fill(701, 1, PEER);
    assert_eq!(deliver(&mut poller), 1);
    assert!(!poller.health().is_cursor_failing);
    drop(poller);
    assert_all_saved(&server, &file);
    println!("all of it ran");
}

#[cfg(target_os = "linux")]
fn limit_files(bytes: u64) {
    let limits = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: these change the handling of a signal that nothing else handles, and a limit, by a struct of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limits), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn line_that_a_full_disk_cuts_is_written_again() {
    let _alone = alone();
    let dir = Dir::new("cursor-full");
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "cursor::full_disk_child", "--nocapture", "--test-threads", "1"]);
    let output = child.env("A2A_TEST_FULL_DISK", &dir.0).output().unwrap();
    let (text, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("all of it ran"), "{text}\n{why}");
}
