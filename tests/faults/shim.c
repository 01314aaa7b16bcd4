/* Faults on command, put before the server with LD_PRELOAD: writes and syncs that fail or are held, and clocks that step.
 *
 * Commands come through a file that both sides map (FAULTS names it; faults.py has the same fields): one that is set counts
 * from the next call on, and the counters say what was really hit. Only files below `below` are touched, and of those only the
 * ones whose path has `only` in it. Everything else goes straight on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct commands {
    _Atomic int64_t wall_ns;      /* added to the wall clock */
    _Atomic int64_t ticks_ns;     /* added to the clocks that only go forward */
    _Atomic int64_t write_errno;  /* what takes room fails with this; 0: nothing fails */
    _Atomic int64_t sync_errno;   /* syncs fail with this */
    _Atomic int64_t hold_syncs;   /* syncs wait while this is set */
    _Atomic int64_t kill_at_sync; /* the process is killed at the sync that brings this from 1 to 0 */
    /* Counted here: what was hit, files below that are open to be read, connections that were accepted. */
    _Atomic int64_t failed_writes, failed_syncs, held_syncs, syncs, open_reads, accepted;
    char below[1024], only[256];
};

static struct commands none, *commands = &none;

/* The next definition of a function: libc's. */
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) commands = mapped;
}

static int is_below(const char *path) {
    size_t length = strlen(commands->below);
    return length && !strncmp(path, commands->below, length);
}

static int meant_path(const char *path) {
    return is_below(path) && strstr(path, commands->only) != NULL;
}

static int meant(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return meant_path(path);
}

/* Whether something that takes room fails now; sets errno. */
static int full(int fd, const char *path) {
    int64_t error = commands->write_errno;
    if (!error || !(path ? meant_path(path) : meant(fd))) return 0;
    commands->failed_writes++;
    errno = (int)error;
    return 1;
}

/* Whether a sync fails now; sets errno. */
static int broken(int fd) {
    if (!commands->below[0] || !meant(fd)) return 0;
    commands->syncs++;
    if (commands->kill_at_sync > 0 && --commands->kill_at_sync == 0) kill(getpid(), SIGKILL);
    if (commands->hold_syncs) {
        struct timespec moment = {0, 1000000};
        commands->held_syncs++;
        while (commands->hold_syncs) nanosleep(&moment, NULL);
        commands->held_syncs--;
    }
    int64_t error = commands->sync_errno;
    if (!error) return 0;
    commands->failed_syncs++;
    errno = (int)error;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return full(fd, NULL) ? -1 : real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    REAL(writev);
    return full(fd, NULL) ? -1 : real(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return full(fd, NULL) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return full(fd, NULL) ? -1 : real(fd, data, size, at);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
    REAL(copy_file_range);
    return full(to, NULL) ? -1 : real(from, from_at, to, to_at, size, flags);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
    REAL(fallocate);
    return full(fd, NULL) ? -1 : real(fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    REAL(fallocate64);
    return full(fd, NULL) ? -1 : real(fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    return full(fd, NULL) ? errno : real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    REAL(posix_fallocate64);
    return full(fd, NULL) ? errno : real(fd, at, size);
}

/* Longer files take room; shorter ones give it back. */
static int grows(int fd, off64_t size) {
    struct stat64 now;
    return fstat64(fd, &now) == 0 && size > now.st_size;
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    return grows(fd, size) && full(fd, NULL) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    return grows(fd, size) && full(fd, NULL) ? -1 : real(fd, size);
}

static _Atomic char reads[65536];

/* A full disk has no room for a new name either. */
static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (commands->write_errno && (flags & O_CREAT) && access(path, F_OK) && full(-1, path)) return -1;
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < (int)sizeof reads && (flags & O_ACCMODE) == O_RDONLY && is_below(path)) {
        reads[fd] = 1;
        commands->open_reads++;
    }
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(real, path, flags, mode); \
    }

#undef open
#undef open64
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < (int)sizeof reads && reads[fd]) {
        reads[fd] = 0;
        commands->open_reads--;
    }
    return real(fd);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    REAL(accept4);
    int accepted = real(fd, address, length, flags);
    if (accepted >= 0) commands->accepted++;
    return accepted;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return full(-1, path) ? -1 : real(path, mode);
}

int fsync(int fd) {
    REAL(fsync);
    return broken(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return broken(fd) ? -1 : real(fd);
}

static void add(struct timespec *time, int64_t ns) {
    int64_t sum = time->tv_nsec + ns % 1000000000;
    time->tv_sec += ns / 1000000000;
    if (sum < 0) sum += 1000000000, time->tv_sec--;
    if (sum >= 1000000000) sum -= 1000000000, time->tv_sec++;
    time->tv_nsec = sum;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int done = real(clock, time);
    if (done) return done;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        add(time, commands->wall_ns);
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        add(time, commands->ticks_ns);
        break;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
