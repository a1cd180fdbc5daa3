//! Faults of the machine.
//!
//! They affect a whole process, so each such cell runs in a child process, which is this test binary again. There this
//! file replaces functions of the C library, and they fail on demand.
#![cfg_attr(all(target_os = "linux", target_env = "gnu"), allow(unsafe_code))]

/// A part of the machine that can fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Machine {
    /// The platform's name does not resolve.
    NoSuchName,
    /// The resolver never answers.
    SilentResolver,
    NoThreads,
    NoDescriptors,
    FullDisk,
    /// The clocks stand still.
    StandingClock,
}

/// Host name of the platform in tests of name resolution.
pub const NAME: &str = "platform.test";

/// True where this file can make the machine fail.
pub const CAN_BREAK: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use linux::{break_down, now};

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn break_down(_: Machine, _: bool) {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn now() -> std::time::Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::ffi::{CStr, c_int, c_void};
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
    use std::thread;
    use std::time::Duration;

    use libc::{addrinfo, clockid_t, pthread_attr_t, pthread_t, rlimit, timespec};

    use super::{Machine, NAME};

    static NO_NAME: AtomicBool = AtomicBool::new(false);
    static SILENT: AtomicBool = AtomicBool::new(false);
    static NO_THREADS: AtomicBool = AtomicBool::new(false);
    static STANDING: AtomicBool = AtomicBool::new(false);
    /// Time at which each clock stands still, in seconds and nanoseconds.
    static CLOCKS: [(AtomicI64, AtomicI64); 12] = [const { (AtomicI64::new(0), AtomicI64::new(0)) }; 12];

    /// Breaks or repairs a part of the machine.
    pub fn break_down(what: Machine, broken: bool) {
        match what {
            Machine::NoSuchName => NO_NAME.store(broken, SeqCst),
            Machine::SilentResolver => SILENT.store(broken, SeqCst),
            Machine::NoThreads => NO_THREADS.store(broken, SeqCst),
            Machine::NoDescriptors => limit(libc::RLIMIT_NOFILE, broken, 1),
            Machine::FullDisk => {
                // SAFETY: this changes the handling of a signal that nothing else here handles.
                unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
                limit(libc::RLIMIT_FSIZE, broken, 0);
            }
            Machine::StandingClock => {
                for (id, (seconds, nanos)) in (0..).zip(&CLOCKS) {
                    let now = read(id).unwrap_or(timespec { tv_sec: 0, tv_nsec: 0 });
                    seconds.store(now.tv_sec, SeqCst);
                    nanos.store(now.tv_nsec, SeqCst);
                }
                STANDING.store(broken, SeqCst);
            }
        }
    }

    /// Sets the soft limit, or raises it to the hard limit again.
    fn limit(what: libc::__rlimit_resource_t, set: bool, to: libc::rlim_t) {
        let mut limits = rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both take a pointer to a struct of ours.
        unsafe {
            assert_eq!(libc::getrlimit(what, &raw mut limits), 0);
            limits.rlim_cur = if set { to } else { limits.rlim_max };
            assert_eq!(libc::setrlimit(what, &raw const limits), 0);
        }
    }

    /// Returns the real time, also while the clocks stand still.
    pub fn now() -> Duration {
        let now = read(libc::CLOCK_MONOTONIC).unwrap();
        Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
    }

    fn read(id: clockid_t) -> Option<timespec> {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes to the struct that it is given.
        (unsafe { libc::syscall(libc::SYS_clock_gettime, id, &raw mut now) } == 0).then_some(now)
    }

    /// Returns the C library's own function of that name.
    fn real(name: &CStr) -> *mut c_void {
        // SAFETY: it looks a name up.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?}");
        found
    }

    #[unsafe(no_mangle)]
    extern "C" fn clock_gettime(id: clockid_t, now: *mut timespec) -> c_int {
        if STANDING.load(SeqCst) {
            if let Some((seconds, nanos)) = usize::try_from(id).ok().and_then(|id| CLOCKS.get(id)) {
                // SAFETY: the caller gives a place for the time.
                unsafe { *now = timespec { tv_sec: seconds.load(SeqCst), tv_nsec: nanos.load(SeqCst) } };
                return 0;
            }
        }
        // SAFETY: as above; it sets `errno` as the function that it stands in for does.
        unsafe { c_int::try_from(libc::syscall(libc::SYS_clock_gettime, id, now)).unwrap_or(-1) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn pthread_create(
        thread: *mut pthread_t,
        attr: *const pthread_attr_t,
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        arg: *mut c_void,
    ) -> c_int {
        type Create = extern "C" fn(
            *mut pthread_t,
            *const pthread_attr_t,
            extern "C" fn(*mut c_void) -> *mut c_void,
            *mut c_void,
        ) -> c_int;
        if NO_THREADS.load(SeqCst) {
            return libc::EAGAIN;
        }
        // SAFETY: it is the function of this very type.
        let create: Create = unsafe { std::mem::transmute(real(c"pthread_create")) };
        create(thread, attr, start, arg)
    }

    #[unsafe(no_mangle)]
    extern "C" fn getaddrinfo(
        node: *const libc::c_char,
        service: *const libc::c_char,
        hints: *const addrinfo,
        found: *mut *mut addrinfo,
    ) -> c_int {
        type Resolve =
            extern "C" fn(*const libc::c_char, *const libc::c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;
        // SAFETY: it is a C string, or null.
        let ours = !node.is_null() && unsafe { CStr::from_ptr(node) }.to_bytes() == NAME.as_bytes();
        while ours && SILENT.load(SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        if ours && NO_NAME.load(SeqCst) {
            return libc::EAI_NONAME;
        }
        // SAFETY: it is the function of this very type.
        let resolve: Resolve = unsafe { std::mem::transmute(real(c"getaddrinfo")) };
        resolve(if ours { c"127.0.0.1".as_ptr() } else { node }, service, hints, found)
    }
}
