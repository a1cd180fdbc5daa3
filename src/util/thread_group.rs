//! Threads that work for one owner, such as a poller, and that must not wait for that owner's end.
//!
//! A logger or a token function is the user's code, and it runs in any thread that makes a request. If it waits for the
//! owner's end in a thread that the owner waits for, neither goes on. [`spawn_member`] passes the membership on to such
//! threads.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use crate::util::single_flight::as_leader;
use crate::util::sync::Mutex;

thread_local! {
    /// The groups that this thread belongs to.
    static GROUPS: RefCell<Vec<ThreadGroup>> = const { RefCell::new(Vec::new()) };
}

/// The threads of one owner. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadGroup(Arc<Mutex<Vec<ThreadId>>>);

impl ThreadGroup {
    /// Adds this thread. It stays a member while its thread-locals are destroyed, too.
    pub(crate) fn add_this_thread(&self) {
        self.0.lock().push(thread::current().id());
        // Fails only while the thread ends. It then starts no member.
        let _ = GROUPS.try_with(|groups| groups.borrow_mut().push(self.clone()));
    }

    /// Adds this thread until the result is dropped.
    pub(crate) fn enter(&self) -> Memberships {
        self.add_this_thread();
        Memberships(vec![self.clone()])
    }

    /// Returns whether this thread is a member.
    pub(crate) fn contains_this_thread(&self) -> bool {
        self.0.lock().contains(&thread::current().id())
    }
}

/// Starts a thread that is a member of all groups of this thread until `work` has ended. Where this thread makes a lookup
/// that others wait for, the new one counts as making it, too.
///
/// # Errors
///
/// The system refuses a thread. `work` is then dropped.
pub(crate) fn spawn_member(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let groups = GROUPS.try_with(|groups| groups.borrow().clone()).unwrap_or_default();
    thread::Builder::new().name(name.to_owned()).spawn(as_leader(move || {
        groups.iter().for_each(ThreadGroup::add_this_thread);
        let _memberships = Memberships(groups);
        work();
    }))
}

/// The memberships of a thread, which end when this is dropped.
pub(crate) struct Memberships(Vec<ThreadGroup>);

impl Drop for Memberships {
    fn drop(&mut self) {
        let own = thread::current().id();
        for group in &self.0 {
            group.0.lock().retain(|member| *member != own);
            let _ = GROUPS.try_with(|groups| groups.borrow_mut().retain(|other| !Arc::ptr_eq(&group.0, &other.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_passed_on_and_ends_with_the_work() {
        let (group, other) = (ThreadGroup::default(), ThreadGroup::default());
        let (members, seen) = (group.clone(), other.clone());
        let outer = thread::spawn(move || {
            members.add_this_thread();
            let (inner_members, inner_seen) = (members.clone(), seen.clone());
            let inner = spawn_member("inner", move || {
                let nested = inner_members.clone();
                spawn_member("nested", move || assert!(nested.contains_this_thread())).unwrap().join().unwrap();
                assert!(inner_members.contains_this_thread() && !inner_seen.contains_this_thread());
            });
            inner.unwrap().join().unwrap();
            assert!(members.contains_this_thread());
        });
        outer.join().unwrap();
        assert!(!group.contains_this_thread());
        assert_eq!(group.0.lock().len(), 1, "the inner threads are no members any more");
        let stranger = group.clone();
        spawn_member("stranger", move || assert!(!stranger.contains_this_thread())).unwrap().join().unwrap();
    }
}
