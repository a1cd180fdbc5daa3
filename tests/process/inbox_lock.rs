//! The lock of a poller's cursor file and forked processes. The lock is free when the poller is gone, and not before.

use a2a_blocking::{Error, ErrorKind, InboxPoller};

use crate::alone;
use crate::support::platform::Platform;
use crate::support::{Dir, Server, client};

fn poller(server: &Server, dir: &Dir) -> Result<InboxPoller, Error> {
    InboxPoller::builder(client(server)).cursor_file(dir.file("c")).build()
}

fn end(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: this waits for our own child, and writes to one integer of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

#[test]
fn lock_is_released_with_its_poller_and_not_by_a_child() {
    let _alone = alone();
    let (server, dir) = (Platform::new().serve(), Dir::new("lock"));
    let first = poller(&server, &dir).unwrap();

    // The child's copy of the poller is dropped, and the parent's is not.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(first);
        // SAFETY: this ends the process at once.
        unsafe { libc::_exit(0) };
    }
    end(child);
    let refused = poller(&server, &dir).err().map(|error| (error.kind(), error.to_string().contains("another poller")));
    assert_eq!(refused, Some((ErrorKind::Config, true)));

    // A child that is about to execute another program has all of our files open.
    let mut pipe = [0; 2];
    // SAFETY: this writes to two integers of ours.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child only makes system calls, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above. The read ends when the parent closes the other end of the pipe.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], [0_u8; 1].as_mut_ptr().cast(), 1);
            libc::_exit(0);
        }
    }
    drop(first);
    let next = poller(&server, &dir);
    // SAFETY: the descriptor is ours, and nobody uses it again.
    unsafe { libc::close(pipe[1]) };
    end(child);
    next.unwrap();
}
