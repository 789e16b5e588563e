/* The floor of an idle poll: lists a directory with getdents64 and looks at each name once, with a descriptor and a
 * buffer that are reused, and allocates nothing. What changed is not even asked.
 *
 * floor list|skip DIR INTERVAL_MS POLLS
 *   list: lists at each poll.
 *   skip: lists only when the time of the directory changed; looks at the names that it knows.
 * Prints the processor time of one poll: {"cpu_us": ...}. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void look(int dir, const char *name) {
    struct stat stat;
    if (fstatat(dir, name, &stat, 0) == 0) sum += (uint64_t)stat.st_mtim.tv_nsec + (uint64_t)stat.st_size;
}

static int is_handoff(const char *name) {
    size_t length = strlen(name);
    return name[0] != '.' && length > 5 && memcmp(name + length - 5, ".json", 5) == 0;
}

static void list(int dir, int keep) {
    long count;
    names_used = 0;
    lseek(dir, 0, SEEK_SET);
    while ((count = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < count;) {
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
