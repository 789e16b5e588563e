/* The floor of an idle poll: lists a directory with getdents64 and looks at each name once, with a descriptor and a
 * buffer that are reused, and allocates nothing. What changed is not even asked.
 *
 * floor list|skip DIR INTERVAL_MS POLLS
 *   list: lists at each poll.
 *   skip: lists only when the time of the directory changed; looks at the names that it knows.
 * Prints the processor time of one poll: {"cpu_us": ...}.
 * floor detection DIR INTERVAL_MS COUNT
 *   A child renames COUNT files into the directory; the parent lists and looks, and reads what is new.
 * floor instant DIR 20 COUNT
 *   The same, but the parent waits for inotify to say that a file was renamed to its name, and reads it.
 * Prints the times from each rename to the bytes: {"latencies_us": [...]}. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static char buffer[64 * 1024];
static char *names;
static size_t names_size, names_used;
static struct timespec known;
static uint64_t sum; /* so that the looking is not optimised away */

static long count;
static double *renamed, *latencies; /* of each number, in microseconds; NULL where nothing is detected */

static double now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* What is new is read. */
static void detect(int dir, const char *name) {
    char bytes[4096];
    long number;
    int file;
    if (sscanf(name, "measured-r%ld.json", &number) != 1 || number >= count || latencies[number] != 0) return;
    file = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    sum += (uint64_t)read(file, bytes, sizeof bytes);
    close(file);
    /* The child may not have noted the time yet. */
    while (*(volatile double *)&renamed[number] == 0) continue;
    latencies[number] = now_us() - renamed[number];
    if (latencies[number] <= 0) latencies[number] = 0.001;
}

static void look(int dir, const char *name) {
    struct stat stat;
    if (fstatat(dir, name, &stat, 0) != 0) return;
    sum += (uint64_t)stat.st_mtim.tv_nsec + (uint64_t)stat.st_size;
    if (latencies != NULL) detect(dir, name);
}

/* The producer: pauses that fall into all phases of the interval. */
static void produce(int dir, double interval_ms, double least_us) {
    char text[256], name[64];
    for (long number = 0; number < count; number++) {
        double phase = (double)number * 0.618034;
        double pause_us = (phase - (double)(long)phase) * interval_ms * 1e3 + least_us;
        int file = openat(dir, ".r0.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        int length = snprintf(text, sizeof text, "{\"pool_id\":\"measured\",\"replica_id\":\"r%ld\",\"url\":\"http://h\"}", number);
        snprintf(name, sizeof name, "measured-r%ld.json", number);
        if (file < 0 || write(file, text, (size_t)length) != length || close(file) != 0) _exit(1);
        usleep((useconds_t)pause_us);
        if (renameat(dir, ".r0.tmp", dir, name) != 0) _exit(1);
        *(volatile double *)&renamed[number] = now_us();
    }
    _exit(0);
}

static int found_all(void) {
    for (long number = 0; number < count; number++) {
        if (latencies[number] == 0) return 0;
    }
    return 1;
}

static int is_handoff(const char *name) {
    size_t length = strlen(name);
    return name[0] != '.' && length > 5 && memcmp(name + length - 5, ".json", 5) == 0;
}

static void list(int dir, int keep) {
    long filled;
    names_used = 0;
    lseek(dir, 0, SEEK_SET);
    while ((filled = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < filled;) {
            struct entry *entry = (struct entry *)(buffer + at);
            at += entry->length;
            if (!is_handoff(entry->name)) continue;
            if (keep) {
                size_t length = strlen(entry->name) + 1;
                if (names_used + length > names_size) {
                    names_size = 2 * (names_size + length);
                    names = realloc(names, names_size);
                    if (names == NULL) exit(1);
                }
                memcpy(names + names_used, entry->name, length);
                names_used += length;
            }
            look(dir, entry->name);
        }
    }
}

static void poll_once(int dir, int skip) {
    struct stat stat;
    if (!skip) {
        list(dir, 0);
        return;
    }
    if (fstat(dir, &stat) == 0 && memcmp(&stat.st_mtim, &known, sizeof known) == 0) {
        for (size_t at = 0; at < names_used; at += strlen(names + at) + 1) look(dir, names + at);
        return;
    }
    known = stat.st_mtim;
    list(dir, 1);
}

/* Waits for the next notifications, for a second at most; reads what they are about. */
static void notified(int inotify, int dir) {
    _Alignas(struct inotify_event) static char events[64 * 1024];
    struct pollfd waits = {inotify, POLLIN, 0};
    long filled = poll(&waits, 1, 1000) == 1 ? read(inotify, events, sizeof events) : 0;
    for (long at = 0; at < filled;) {
        struct inotify_event *event = (struct inotify_event *)(events + at);
        at += (long)sizeof *event + event->len;
        if (event->len > 0 && is_handoff(event->name)) detect(dir, event->name);
    }
}

static double cpu_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int skip = strcmp(argv[1], "skip") == 0;
    long interval = atol(argv[3]), polls = atol(argv[4]);
    int dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return 1;
    struct timespec pause = {interval / 1000, interval % 1000 * 1000000};
    int instant = strcmp(argv[1], "instant") == 0;
    if (instant || strcmp(argv[1], "detection") == 0) {
        int inotify = inotify_init1(IN_CLOEXEC);
        double end = now_us() + 60e6;
        count = polls;
        renamed = mmap(NULL, (size_t)count * sizeof *renamed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        latencies = calloc((size_t)count, sizeof *latencies);
        if (renamed == MAP_FAILED || latencies == NULL) return 1;
        if (instant && inotify_add_watch(inotify, argv[2], IN_MOVED_TO) < 0) return 1;
        if (fork() == 0) produce(dir, (double)interval, instant ? 8000 : 2000);
        while (!found_all() && now_us() < end) {
            if (instant) {
                notified(inotify, dir);
                continue;
            }
            nanosleep(&pause, NULL);
            poll_once(dir, 0);
        }
        for (long number = 0; number < count; number++) {
            printf("%s%.3f", number == 0 ? "{\"latencies_us\": [" : ", ", latencies[number]);
        }
        printf("]}\n");
        return !found_all();
    }
    poll_once(dir, skip);
    poll_once(dir, skip);
    double before = cpu_us();
    for (long poll = 0; poll < polls; poll++) {
        nanosleep(&pause, NULL);
        poll_once(dir, skip);
    }
    printf("{\"cpu_us\": %.3f, \"sum\": %llu}\n", (cpu_us() - before) / (double)polls, (unsigned long long)sum);
    return 0;
}
