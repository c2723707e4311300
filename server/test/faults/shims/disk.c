/*
 * A disk that loses power and fails, for one process (LD_PRELOAD; Linux, glibc).
 *
 * DISK_FOLDER   files under it are watched. Those ending in "-shm" are left alone: SQLite maps and rebuilds them.
 * DISK_PLATTER  a second folder that holds what would be on the platter: only bytes that a successful fsync or
 *               fdatasync covered. After kill -9, starting from it is starting after a power loss.
 * DISK_TEAR     a seed: half of the 512-byte sectors of every write reach the platter at once, in no order, as a drive
 *               or a page cache under pressure writes back. The rest comes with the sync.
 * DISK_CONTROL  a file of six 32-bit numbers, read at every call: kinds of calls that fail (1 sync, 2 write, 4 truncate,
 *               8 create), errno, calls to let pass, calls to fail (-1: all), calls failed so far, syncs seen so far.
 *
 * A failed sync forgets what it should have written, as Linux does: the page cache still shows the bytes, the next
 * sync succeeds, and the platter never gets them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define SECTOR 512
enum { SYNC = 1, WRITE = 2, TRUNCATE = 4, CREATE = 8 };

/* One change that the platter has not got: bytes, or (bytes == NULL) a new length. */
struct change { struct change *next; off_t at; size_t count; char *bytes; };
struct file { struct file *next; char *name; struct change *first, **last; };
struct control { volatile int32_t kinds, error, pass, fail, failed, syncs; };

static struct file *files, *by_fd[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX], platter[PATH_MAX];
static struct control *control;
static unsigned seed;
static int tears;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int), (*real_fsync)(int), (*real_fdatasync)(int), (*real_unlink)(const char *);
static int (*real_ftruncate)(int, off_t), (*real_rename)(const char *, const char *);
static ssize_t (*real_write)(int, const void *, size_t), (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int), (*real_pwritev)(int, const struct iovec *, int, off_t);

__attribute__((constructor)) static void prepare(void) {
  if (real_open) return;
  real_openat = dlsym(RTLD_NEXT, "openat64");
  real_close = dlsym(RTLD_NEXT, "close");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  real_open = dlsym(RTLD_NEXT, "open64");
  const char *watched = getenv("DISK_FOLDER"), *kept = getenv("DISK_PLATTER");
  const char *tear = getenv("DISK_TEAR"), *told = getenv("DISK_CONTROL");
  if (watched && !realpath(watched, folder)) folder[0] = 0;
  if (kept && !realpath(kept, platter)) platter[0] = 0;
  if (tear) { tears = 1; seed = (unsigned)atoi(tear); }
  if (told) {
    int fd = real_open(told, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) { fprintf(stderr, "disk.c: cannot map DISK_CONTROL\n"); _exit(97); }
    control = at;
  }
}

/* The path below DISK_FOLDER, or NULL where it is none of ours. */
static const char *below(const char *path, char *space) {
  size_t length = strlen(folder);
  if (!length || !path) return NULL;
  if (path[0] == '/') snprintf(space, PATH_MAX, "%s", path);
  else {
    char here[PATH_MAX / 2];
    if (!getcwd(here, sizeof here)) return NULL;
    snprintf(space, PATH_MAX, "%s/%s", here, path);
  }
  if (strncmp(space, folder, length) || space[length] != '/') return NULL;
  size_t whole = strlen(space);
  if (whole > 4 && !strcmp(space + whole - 4, "-shm")) return NULL;
  return space + length + 1;
}

/* True: this call fails, and errno says why. */
static int fails(int kind) {
  if (!control || !(control->kinds & kind)) return 0;
  if (control->pass > 0) { control->pass--; return 0; }
  if (!control->fail) return 0;
  if (control->fail > 0) control->fail--;
  control->failed++;
  errno = control->error;
  return 1;
}

static struct file *file_of(const char *name) {
  for (struct file *file = files; file; file = file->next) if (!strcmp(file->name, name)) return file;
  struct file *file = calloc(1, sizeof *file);
  file->name = strdup(name);
  file->last = &file->first;
  file->next = files;
  return files = file;
}

static void forget(struct file *file) {
  for (struct change *change = file->first, *next; change; change = next) { next = change->next; free(change->bytes); free(change); }
  file->first = NULL;
  file->last = &file->first;
}

static int open_kept(const char *name) {
  char path[PATH_MAX * 2];
  snprintf(path, sizeof path, "%s/%s", platter, name);
  return real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void tear(struct file *file, const char *bytes, size_t count, off_t at) {
  int kept = open_kept(file->name);
  if (kept < 0) return;
  for (size_t from = 0; from < count;) {
    size_t size = SECTOR - (size_t)((at + (off_t)from) % SECTOR);
    if (size > count - from) size = count - from;
    if (rand_r(&seed) & 1) (void)!real_pwrite(kept, bytes + from, size, at + (off_t)from);
    from += size;
  }
  real_close(kept);
}

static void remember(struct file *file, const void *bytes, size_t count, off_t at) {
  if (!platter[0]) return;
  struct change *change = calloc(1, sizeof *change);
  change->at = at;
  change->count = count;
  if (bytes) { change->bytes = malloc(count ? count : 1); memcpy(change->bytes, bytes, count); }
  *file->last = change;
  file->last = &change->next;
  if (tears && bytes) tear(file, bytes, count, at);
}

static void persist(struct file *file) {
  if (!platter[0]) return;
  int kept = open_kept(file->name);
  if (kept < 0) return;
  for (struct change *change = file->first; change; change = change->next) {
    if (change->bytes) (void)!real_pwrite(kept, change->bytes, change->count, change->at);
    else (void)!real_ftruncate(kept, change->at);
  }
  real_close(kept);
  forget(file);
}

static struct file *watched(int fd) { return fd >= 0 && fd < FDS ? by_fd[fd] : NULL; }

static int opened(const char *path, int flags, int fd) {
  if (fd < 0 || fd >= FDS) return fd;
  char space[PATH_MAX];
  const char *name = below(path, space);
  struct stat is;
  if (name && (fstat(fd, &is) || !S_ISREG(is.st_mode))) name = NULL;
  pthread_mutex_lock(&lock);
  by_fd[fd] = name ? file_of(name) : NULL;
  if (name && (flags & O_TRUNC)) remember(by_fd[fd], NULL, 0, 0);
  pthread_mutex_unlock(&lock);
  return fd;
}

static int may_create(const char *path, int flags) {
  char space[PATH_MAX];
  return !(flags & O_CREAT) || !below(path, space) || !access(path, F_OK) || !fails(CREATE);
}

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open64(const char *path, int flags, ...) { prepare(); MODE(flags) return may_create(path, flags) ? opened(path, flags, real_open(path, flags, mode)) : -1; }
int open(const char *path, int flags, ...) { prepare(); MODE(flags) return may_create(path, flags) ? opened(path, flags, real_open(path, flags, mode)) : -1; }
int openat64(int at, const char *path, int flags, ...) {
  prepare();
  MODE(flags)
  int ours = at == AT_FDCWD || path[0] == '/';
  if (ours && !may_create(path, flags)) return -1;
  int fd = real_openat(at, path, flags, mode);
  return ours ? opened(path, flags, fd) : fd;
}
int openat(int at, const char *path, int flags, ...) { MODE(flags) return openat64(at, path, flags, mode); }

int close(int fd) {
  prepare();
  if (fd >= 0 && fd < FDS) by_fd[fd] = NULL;
  return real_close(fd);
}

static ssize_t put(int fd, const struct iovec *parts, int count, off_t at) {
  struct file *file = watched(fd);
  pthread_mutex_lock(&lock);
  if (fails(WRITE)) { int why = errno; pthread_mutex_unlock(&lock); errno = why; return -1; }
  off_t from = at >= 0 ? at : lseek(fd, 0, SEEK_CUR);
  ssize_t done = at >= 0 ? real_pwritev(fd, parts, count, at) : real_writev(fd, parts, count);
  if (done > 0) {
    int why = errno;
    if (at < 0 && (fcntl(fd, F_GETFL) & O_APPEND)) from = lseek(fd, 0, SEEK_CUR) - done;
    size_t left = (size_t)done;
    for (int part = 0; part < count && left; part++) {
      size_t size = parts[part].iov_len < left ? parts[part].iov_len : left;
      remember(file, parts[part].iov_base, size, from);
      from += (off_t)size;
      left -= size;
    }
    errno = why;
  }
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
  prepare();
  if (!watched(fd)) return real_pwrite(fd, bytes, count, at);
  struct iovec part = { (void *)bytes, count };
  return put(fd, &part, 1, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }
ssize_t write(int fd, const void *bytes, size_t count) {
  prepare();
  if (!watched(fd)) return real_write(fd, bytes, count);
  struct iovec part = { (void *)bytes, count };
  return put(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { prepare(); return watched(fd) ? put(fd, parts, count, -1) : real_writev(fd, parts, count); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { prepare(); return watched(fd) ? put(fd, parts, count, at) : real_pwritev(fd, parts, count, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }

static int sync_with(int fd, int (*call)(int)) {
  struct file *file = watched(fd);
  if (!file) return call(fd);
  pthread_mutex_lock(&lock);
  int result = -1, why;
  if (fails(SYNC)) forget(file);
  else if (!(result = call(fd))) { persist(file); if (control) control->syncs++; }
  why = errno;
  pthread_mutex_unlock(&lock);
  errno = why;
  return result;
}
int fsync(int fd) { prepare(); return sync_with(fd, real_fsync); }
int fdatasync(int fd) { prepare(); return sync_with(fd, real_fdatasync); }

int ftruncate64(int fd, off_t length) {
  prepare();
  struct file *file = watched(fd);
  if (!file) return real_ftruncate(fd, length);
  pthread_mutex_lock(&lock);
  int result = fails(TRUNCATE) ? -1 : real_ftruncate(fd, length), why = errno;
  if (!result) remember(file, NULL, 0, length);
  pthread_mutex_unlock(&lock);
  errno = why;
  return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
  prepare();
  int result = real_unlink(path), why = errno;
  char space[PATH_MAX], kept[PATH_MAX * 2];
  const char *name = result ? NULL : below(path, space);
  if (name) {
    pthread_mutex_lock(&lock);
    forget(file_of(name));
    if (platter[0]) { snprintf(kept, sizeof kept, "%s/%s", platter, name); real_unlink(kept); }
    pthread_mutex_unlock(&lock);
  }
  errno = why;
  return result;
}

/* The new name is there at once; where the bytes were never synced it names an empty file, as some file systems do. */
int rename(const char *from, const char *to) {
  prepare();
  int result = real_rename(from, to), why = errno;
  char space_from[PATH_MAX], space_to[PATH_MAX], kept_from[PATH_MAX * 2], kept_to[PATH_MAX * 2];
  const char *old_name = result ? NULL : below(from, space_from), *new_name = result ? NULL : below(to, space_to);
  if (old_name && new_name) {
    pthread_mutex_lock(&lock);
    struct file *moved = file_of(old_name), *gone = file_of(new_name);
    forget(gone);
    free(gone->name);
    gone->name = strdup("");
    free(moved->name);
    moved->name = strdup(new_name);
    if (platter[0]) {
      snprintf(kept_from, sizeof kept_from, "%s/%s", platter, old_name);
      snprintf(kept_to, sizeof kept_to, "%s/%s", platter, new_name);
      if (real_rename(kept_from, kept_to)) {
        int empty = real_open(kept_to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (empty >= 0) real_close(empty);
      }
    }
    pthread_mutex_unlock(&lock);
  }
  errno = why;
  return result;
}
