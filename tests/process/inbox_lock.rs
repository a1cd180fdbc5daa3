//! A poller's lock and the processes that a fork makes: free when the poller is gone, and not before.

use a2a_blocking::{Error, ErrorKind, InboxPoller};

use crate::alone;
use crate::support::platform::Platform;
use crate::support::{Dir, Server, client};

fn poller(server: &Server, dir: &Dir) -> Result<InboxPoller, Error> {
    InboxPoller::builder(client(server)).cursor_file(dir.file("c")).build()
}

fn end(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: it waits for our own child, and writes to the one integer that it is given.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

#[test]
fn the_lock_goes_with_the_poller_that_took_it() {
    let _alone = alone();
    let (server, dir) = (Platform::new().serve(), Dir::new("lock"));
    let first = poller(&server, &dir).unwrap();

    // A fork's copy of a poller is gone, and the poller is not.
    // SAFETY: the child drops what is its own copy, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(first);
        // SAFETY: it ends the process, at once.
        unsafe { libc::_exit(0) };
    }
    end(child);
    let refused = poller(&server, &dir).err().map(|error| (error.kind(), error.to_string().contains("another poller")));
    assert_eq!(refused, Some((ErrorKind::Config, true)));

    // A child that is just being started has all of our files open, until it is another program.
    let mut pipe = [0; 2];
    // SAFETY: it writes to the two integers that it is given.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child makes system calls alone, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above. The read ends with the pipe's other end, which is the parent's.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], [0_u8; 1].as_mut_ptr().cast(), 1);
            libc::_exit(0);
        }
    }
    drop(first);
    let next = poller(&server, &dir);
    // SAFETY: it is ours, and nobody uses it again.
    unsafe { libc::close(pipe[1]) };
    end(child);
    next.unwrap();
}
