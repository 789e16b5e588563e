/* dlopen, use, dlclose, again: 1,000 times, the last ones while threads are left running. The library's path is the
 * argument; this program is not linked with it. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handoff_watcher.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef int32_t (*new_function)(const handoff_config *, handoff_watcher **);
typedef int32_t (*next_function)(handoff_watcher *, int64_t, handoff_event **);
typedef int32_t (*free_function)(handoff_watcher *);
typedef void (*event_free_function)(handoff_event *);

/* Threads that are left running, and what they work on, which is no leak. */
static handoff_watcher *volatile left[5];

static void *find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    CHECK(symbol != NULL);
    return symbol;
}

int main(int argc, char **argv) {
    const char *percent = getenv("HANDOFF_PERCENT");
    int rounds = percent == NULL ? 1000 : 10 * atoi(percent), i;
    CHECK(argc == 2);
    for (i = 0; i < rounds; i++) {
        handoff_config config = HANDOFF_CONFIG_INIT;
        handoff_watcher *watcher = NULL;
        handoff_event *event = NULL;
        new_function make;
        next_function next;
        free_function release;
        event_free_function release_event;
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL);
        /* ISO C has no cast from an object's pointer to a function's. */
        *(void **)(&make) = find(library, "handoff_watcher_new");
        *(void **)(&next) = find(library, "handoff_watcher_next");
        *(void **)(&release) = find(library, "handoff_watcher_free");
        *(void **)(&release_event) = find(library, "handoff_event_free");
        config.runtime_dir = "/nonexistent/handoff";
        config.poll_interval_ms = 1;
        CHECK(make(&config, &watcher) == HANDOFF_OK);
        CHECK(next(watcher, 60000, &event) == HANDOFF_OK);
        release_event(event);
        /* The last ones leave their threads behind, which must keep their code. */
        if (i < rounds - 5) {
            CHECK(release(watcher) == HANDOFF_OK);
        } else {
            left[rounds - 1 - i] = watcher;
        }
        CHECK(dlclose(library) == 0);
    }
    return 0;
}
