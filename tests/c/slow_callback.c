/* A callback that hangs while stop is asked: stop returns at once, join when its time is over, and no other call follows.
 * The callback would take a minute, and more; the test lets it go when it has seen that. */
#include "common.h"

static int inside, released, calls, destroyed;

static int32_t on_event(const handoff_event *event, void *user_data) {
    (void)event, (void)user_data;
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&inside, 1, __ATOMIC_SEQ_CST);
    EVENTUALLY(__atomic_load_n(&released, __ATOMIC_SEQ_CST));
    __atomic_store_n(&inside, 0, __ATOMIC_SEQ_CST);
    return HANDOFF_ACCEPT;
}

static void on_destroy(void *user_data) {
    (void)user_data;
    CHECK(__atomic_load_n(&inside, __ATOMIC_SEQ_CST) == 0);
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

int main(void) {
    handoff_config config;
    handoff_watcher *watcher;
    int64_t began;
    uint64_t count = 0;
    make_dir();
    write_handoff("p", 0, 1);
    config = quick_config();
    config.on_event = on_event;
    config.on_destroy = on_destroy;
    watcher = start(&config);
    EVENTUALLY(__atomic_load_n(&inside, __ATOMIC_SEQ_CST));

    /* The scanning goes on meanwhile. */
    write_handoff("p", 1, 1);
    CHECK_STATUS(HANDOFF_OK, handoff_registry_wait_replica_ready(watcher, "p", "r1", DEADLINE_MS));

    began = now_ms();
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(watcher));
    CHECK_STATUS(HANDOFF_OK, handoff_registry_count(watcher, &count));
    CHECK_STATUS(HANDOFF_TIMEOUT, handoff_watcher_join(watcher, 10));
    CHECK_STATUS(HANDOFF_TIMEOUT, handoff_watcher_join(watcher, 0));
    CHECK(now_ms() - began < DEADLINE_MS / 10);
    CHECK(count == 2 && __atomic_load_n(&inside, __ATOMIC_SEQ_CST) == 1 && destroyed == 0);

    __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_join(watcher, -1));
    CHECK(__atomic_load_n(&inside, __ATOMIC_SEQ_CST) == 0 && calls == 1 && destroyed == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    CHECK(calls == 1 && destroyed == 1);
    return 0;
}
