/* Two threads in next: each event goes to exactly one of them, and a stop ends both. */
#include "common.h"

#define REPLICAS 200

static handoff_watcher *watcher;
static int seen[REPLICAS];

static void *take(void *unused) {
    for (;;) {
        handoff_event *event = NULL;
        int32_t status = handoff_watcher_next(watcher, -1, &event);
        if (status == HANDOFF_STOPPED) {
            return unused;
        }
        CHECK_STATUS(HANDOFF_OK, status);
        if (handoff_event_kind(event) == HANDOFF_EVENT_READY) {
            __atomic_add_fetch(&seen[atoi(handoff_event_replica_id(event) + 1)], 1, __ATOMIC_SEQ_CST);
        }
        handoff_event_free(event);
    }
}

static int all_seen(void) {
    int i;
    for (i = 0; i < REPLICAS; i++) {
        if (__atomic_load_n(&seen[i], __ATOMIC_SEQ_CST) == 0) {
            return 0;
        }
    }
    return 1;
}

int main(void) {
    pthread_t threads[2];
    handoff_config config;
    int i;
    make_dir();
    config = quick_config();
    watcher = start(&config);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, take, NULL) == 0);
    }
    for (i = 0; i < REPLICAS; i++) {
        write_handoff("p", i, 1);
    }
    EVENTUALLY(all_seen());
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(watcher));
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (i = 0; i < REPLICAS; i++) {
        CHECK(seen[i] == 1);
    }
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
