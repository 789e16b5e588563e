/* free while other threads wait in next, in wait_ready and in join: they come back, and free returns after them. */
#include "common.h"

struct waiter {
    handoff_watcher *watcher;
    int how;
    int32_t status;
    pthread_t thread;
};

static int entering;

static void *wait_for(void *argument) {
    struct waiter *waiter = (struct waiter *)argument;
    handoff_event *event = NULL;
    __atomic_add_fetch(&entering, 1, __ATOMIC_SEQ_CST);
    switch (waiter->how) {
    case 0: waiter->status = handoff_watcher_next(waiter->watcher, -1, &event); break;
    case 1: waiter->status = handoff_registry_wait_ready(waiter->watcher, "never", -1); break;
    case 2: waiter->status = handoff_registry_wait_replica_ready(waiter->watcher, "never", "r", DEADLINE_MS); break;
    default: waiter->status = handoff_watcher_join(waiter->watcher, -1); break;
    }
    CHECK(event == NULL);
    return NULL;
}

int main(void) {
    int round, i;
    make_dir();
    for (round = 0; round < scaled(50); round++) {
        handoff_config config = quick_config();
        handoff_watcher *watcher = start(&config);
        struct waiter waiters[8];
        skip(watcher, HANDOFF_EVENT_SYNCED);
        __atomic_store_n(&entering, 0, __ATOMIC_SEQ_CST);
        for (i = 0; i < 8; i++) {
            waiters[i].watcher = watcher;
            waiters[i].how = i % 4;
            CHECK(pthread_create(&waiters[i].thread, NULL, wait_for, &waiters[i]) == 0);
        }
        EVENTUALLY(__atomic_load_n(&entering, __ATOMIC_SEQ_CST) == 8);
        /* A call must have begun before free does; the few instructions to there are not to be seen from here. */
        pause_ms(20);
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
        for (i = 0; i < 8; i++) {
            CHECK(pthread_join(waiters[i].thread, NULL) == 0);
            CHECK_STATUS(waiters[i].how == 3 ? HANDOFF_OK : HANDOFF_STOPPED, waiters[i].status);
        }
    }
    return 0;
}
