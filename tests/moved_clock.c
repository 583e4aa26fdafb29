/* The time of day, moved by MOVED_CLOCK seconds, for a process and those that it starts: `make test-at`.
 * Debian's faketime moves what threads wait for as well, and Python's threads then wait for months.
 * Waits here are as long as they are: only the clock that tells the time is another one. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long moved_by(void) {
  const char *seconds = getenv("MOVED_CLOCK");
  return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static long seconds, is_known;
  int failed = syscall(SYS_clock_gettime, clock, at);
  if (!is_known) {
    seconds = moved_by();
    is_known = 1;
  }
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += seconds;
  return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
