/* A disk that fails when told: loaded before the C library, it stands between a process and what it writes.
 * FAULTY_DISK_ROOT is the directory whose files fail, FAULTY_DISK_CONTROL one with a file for each fault that is on:
 *   full    nothing grows any more (ENOSPC); what has its place on the disk can be written over
 *   unsync  fsync and fdatasync fail (EIO)
 *   unread  nothing can be read (EIO)
 *   room    a number in it: the files directly in the directory have so many bytes together (ENOSPC)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int on(const char *fault, int fd) {
    const char *control = getenv("FAULTY_DISK_CONTROL"), *root = getenv("FAULTY_DISK_ROOT");
    char name[4096], link[64];
    ssize_t length;
    int before = errno, found;
    if (!control || !root) return 0;
    snprintf(name, sizeof name, "%s/%s", control, fault);
    found = access(name, F_OK) == 0;
    errno = before;
    if (!found) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name - 1);
    errno = before;
    if (length < 0) return 0;
    name[length] = 0;
    return strncmp(name, root, strlen(root)) == 0;
}

static int grows(int fd, off_t end) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && end > about.st_size;
}

/* Whether a file that ends there then would have more than what there is room for. */
static int too_much(int fd, off_t end) {
    const char *control = getenv("FAULTY_DISK_CONTROL"), *root = getenv("FAULTY_DISK_ROOT");
    char name[4096];
    long long most = 0, all = 0;
    struct stat about;
    struct dirent *entry;
    DIR *folder;
    FILE *said;
    snprintf(name, sizeof name, "%s/room", control);
    said = fopen(name, "r");
    if (!said) return 0;
    if (fscanf(said, "%lld", &most) != 1) most = 0;
    fclose(said);
    folder = opendir(root);
    while (folder && (entry = readdir(folder)))
        if (fstatat(dirfd(folder), entry->d_name, &about, 0) == 0 && S_ISREG(about.st_mode)) all += about.st_size;
    if (folder) closedir(folder);
    return fstat(fd, &about) == 0 && all + (end - about.st_size) > most;
}

static int no_room(int fd, off_t from, size_t length) {
    off_t end = from + (off_t)length;
    int before = errno, none = grows(fd, end) && (on("full", fd) || (on("room", fd) && too_much(fd, end)));
    errno = none ? ENOSPC : before;
    return none;
}

#define REAL(result, name, ...) static result (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (no_room(fd, lseek(fd, 0, SEEK_CUR), length)) return -1;
    return real(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (no_room(fd, lseek(fd, 0, SEEK_CUR), 1)) return -1;
    return real(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t from) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    if (no_room(fd, from, length)) return -1;
    return real(fd, bytes, length, from);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t from) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (no_room(fd, from, length)) return -1;
    return real(fd, bytes, length, from);
}

static int lost(int fd) {
    if (!on("unread", fd)) return 0;
    errno = EIO;
    return 1;
}

ssize_t read(int fd, void *bytes, size_t length) {
    REAL(ssize_t, "read", int, void *, size_t);
    return lost(fd) ? -1 : real(fd, bytes, length);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t from) {
    REAL(ssize_t, "pread", int, void *, size_t, off_t);
    return lost(fd) ? -1 : real(fd, bytes, length, from);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t from) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    return lost(fd) ? -1 : real(fd, bytes, length, from);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    if (on("unsync", fd)) { errno = EIO; return -1; }
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    if (on("unsync", fd)) { errno = EIO; return -1; }
    return real(fd);
}
