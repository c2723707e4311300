/*
 * Writes down in which order one process reads requests, writes them to its files, syncs, and answers (LD_PRELOAD;
 * Linux, glibc). A request is known by the text "mark-NNNNNN-" in it, which its row in the database and its answer
 * repeat. ORDER_LOG gets one line per event: `in N`, `row N` (first write to a file that holds it), `sync`, `synced`,
 * `out N` (an answer that says 1001).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MARKS 1000000
enum { IN = 1, ROW = 2, OUT = 4 };

static int out = -1;
static unsigned char seen[MARKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ssize_t (*real_read)(int, void *, size_t), (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int), (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void prepare(void) {
  if (real_read) return;
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_read = dlsym(RTLD_NEXT, "read");
  const char *path = getenv("ORDER_LOG");
  out = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  if (out < 0) { fprintf(stderr, "order.c: cannot open ORDER_LOG\n"); _exit(97); }
}

static void line(const char *text) { (void)!syscall(SYS_write, out, text, strlen(text)); }

static void look(const char *word, int kind, const char *bytes, size_t count) {
  pthread_mutex_lock(&lock);
  const char *at = bytes, *end = bytes + count;
  while (at < end && (at = memmem(at, (size_t)(end - at), "mark-", 5))) {
    at += 5;
    if (end - at < 7 || at[6] != '-') continue;
    int mark = 0, digits = 0;
    for (; digits < 6 && at[digits] >= '0' && at[digits] <= '9'; digits++) mark = mark * 10 + at[digits] - '0';
    if (digits < 6 || (seen[mark] & kind)) continue;
    seen[mark] |= (unsigned char)kind;
    char text[32];
    snprintf(text, sizeof text, "%s %d\n", word, mark);
    line(text);
  }
  pthread_mutex_unlock(&lock);
}

static int is_socket(int fd) { struct stat is; return fd > 2 && !fstat(fd, &is) && S_ISSOCK(is.st_mode); }

static void leaving(int fd, const char *bytes, size_t count) {
  if (count && memmem(bytes, count, "\"1001\"", 6) && is_socket(fd)) look("out", OUT, bytes, count);
}

ssize_t read(int fd, void *bytes, size_t count) {
  prepare();
  ssize_t got = real_read(fd, bytes, count);
  if (got > 0 && memmem(bytes, (size_t)got, "mark-", 5) && is_socket(fd)) look("in", IN, bytes, (size_t)got);
  return got;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) { prepare(); look("row", ROW, bytes, count); return real_pwrite(fd, bytes, count, at); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }
ssize_t write(int fd, const void *bytes, size_t count) { prepare(); leaving(fd, bytes, count); return real_write(fd, bytes, count); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  prepare();
  for (int part = 0; part < count; part++) leaving(fd, parts[part].iov_base, parts[part].iov_len);
  return real_writev(fd, parts, count);
}
static int sync_with(int fd, int (*call)(int)) {
  line("sync\n");
  int result = call(fd);
  if (!result) line("synced\n");
  return result;
}
int fsync(int fd) { prepare(); return sync_with(fd, real_fsync); }
int fdatasync(int fd) { prepare(); return sync_with(fd, real_fdatasync); }
