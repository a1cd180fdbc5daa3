//! Our own client and poller against it.
