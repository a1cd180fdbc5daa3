/* The clocks after the system was suspended: preloaded, it adds 8 h for each byte of the file A2A_TEST_SUSPENDED.
 *
 * CLOCK_MONOTONIC does not advance while the system is suspended. The coarse one is brought up to date then, so it is
 * never the same before and after that. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("A2A_TEST_SUSPENDED");
    struct stat file;
    if (failed || path == NULL || stat(path, &file) != 0) {
        return failed;
    }
    switch (clock) {
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        time->tv_sec += 8 * 3600 * file.st_size;
        break;
    case CLOCK_MONOTONIC_COARSE:
        time->tv_nsec = (time->tv_nsec + file.st_size) % 1000000000;
        break;
    }
    return 0;
}
