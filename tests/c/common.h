/* What the C tests share: a temporary directory, files in it, and conditions with a deadline. Compiles as C99 and C++. */
#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "handoff_watcher.h"

/* Far more than anything takes, on a machine that is busy or under valgrind. */
#define DEADLINE_MS 60000

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CHECK_STATUS(expected, call) check_status(expected, call, #call, __FILE__, __LINE__)
#define CHECK_TEXT(expected, text) check_text(expected, text, #text, __FILE__, __LINE__)
/* Waits for a condition, for as long as the deadline allows. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        int64_t eventually_end = now_ms() + DEADLINE_MS;                                                               \
        while (!(condition)) {                                                                                         \
            check(now_ms() < eventually_end, "in time: " #condition, __FILE__, __LINE__);                              \
            pause_ms(1);                                                                                               \
        }                                                                                                              \
    } while (0)

static inline void check(int is_true, const char *what, const char *file, int line) {
    if (!is_true) {
        fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", file, line, what, handoff_last_error());
        abort();
    }
}

static inline void check_status(int32_t expected, int32_t status, const char *what, const char *file, int line) {
    if (status != expected) {
        fprintf(stderr, "%s:%d: %s: expected %s, found %s (last error: %s)\n", file, line, what,
                handoff_status_name(expected), handoff_status_name(status), handoff_last_error());
        abort();
    }
}

static inline void check_text(const char *expected, const char *text, const char *what, const char *file, int line) {
    if (text == NULL || strcmp(expected, text) != 0) {
        fprintf(stderr, "%s:%d: %s: expected \"%s\", found \"%s\"\n", file, line, what, expected,
                text == NULL ? "NULL" : text);
        abort();
    }
}

static inline int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void pause_ms(long ms) {
    struct timespec time;
    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&time, NULL);
}

/* A number of things, fewer where HANDOFF_PERCENT says that each costs much. */
static inline int scaled(int count) {
    const char *percent = getenv("HANDOFF_PERCENT");
    int result = percent == NULL ? count : count * atoi(percent) / 100;
    return result < 1 ? 1 : result;
}

static char temporary_dir[PATH_MAX];

static inline int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw) {
    (void)stat, (void)flag, (void)ftw;
    return remove(path);
}

static inline void remove_temporary_dir(void) {
    nftw(temporary_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A directory that goes when the program ends well. */
static inline const char *make_dir(void) {
    snprintf(temporary_dir, sizeof temporary_dir, "%s/handoff-c-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(temporary_dir) != NULL);
    atexit(remove_temporary_dir);
    return temporary_dir;
}

/* Writes a file whole or not at all. */
static inline void write_file(const char *name, const char *content) {
    char path[PATH_MAX + 300], temporary[PATH_MAX + 300];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", temporary_dir, name);
    snprintf(temporary, sizeof temporary, "%s/.%s.tmp", temporary_dir, name);
    file = fopen(temporary, "w");
    CHECK(file != NULL);
    CHECK(fputs(content, file) >= 0);
    CHECK(fclose(file) == 0);
    CHECK(rename(temporary, path) == 0);
}

static inline void remove_file(const char *name) {
    char path[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/%s", temporary_dir, name);
    CHECK(unlink(path) == 0);
}

/* A handoff of replica number `number` of a pool, in a file of its own. */
static inline void write_handoff(const char *pool, int number, int slots) {
    char name[64], json[256];
    snprintf(name, sizeof name, "%s-r%d.json", pool, number);
    snprintf(json, sizeof json,
             "{\"pool_id\":\"%s\",\"replica_id\":\"r%d\",\"url\":\"http://localhost:%d\",\"slots\":%d}", pool, number,
             8000 + number, slots);
    write_file(name, json);
}

static inline handoff_config quick_config(void) {
    handoff_config config = HANDOFF_CONFIG_INIT;
    config.runtime_dir = temporary_dir;
    config.poll_interval_ms = 5;
    config.settle_time_ms = 1;
    config.retry_first_ms = 1;
    return config;
}

static inline handoff_watcher *start(const handoff_config *config) {
    handoff_watcher *watcher = NULL;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(config, &watcher));
    CHECK(watcher != NULL);
    return watcher;
}

/* The next event, which has to be of that kind. */
static inline handoff_event *expect(handoff_watcher *watcher, int32_t kind) {
    handoff_event *event = NULL;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_next(watcher, DEADLINE_MS, &event));
    if (handoff_event_kind(event) != kind) {
        char *json = NULL;
        handoff_event_json(event, &json);
        fprintf(stderr, "expected an event of kind %d, found %s\n", (int)kind, json);
        abort();
    }
    return event;
}

/* The same, where the kind is all that matters. */
static inline void skip(handoff_watcher *watcher, int32_t kind) {
    handoff_event_free(expect(watcher, kind));
}

#endif
