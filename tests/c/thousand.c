/* 1,000 watchers at once, half of them with callbacks, all of one directory. */
#include "common.h"

static int32_t on_event(const handoff_event *event, void *user_data) {
    if (handoff_event_kind(event) == HANDOFF_EVENT_READY) {
        __atomic_store_n((int *)user_data, 1, __ATOMIC_SEQ_CST);
    }
    return HANDOFF_ACCEPT;
}

int main(void) {
    int count = scaled(1000), i;
    handoff_watcher **watchers = (handoff_watcher **)calloc((size_t)count, sizeof *watchers);
    int *called = (int *)calloc((size_t)count, sizeof *called);
    int64_t began;
    CHECK(watchers != NULL && called != NULL);
    make_dir();
    write_handoff("p", 0, 1);
    for (i = 0; i < count; i++) {
        handoff_config config = quick_config();
        config.poll_interval_ms = 1000;
        if (i % 2 == 1) {
            config.on_event = on_event;
            config.user_data = &called[i];
        }
        watchers[i] = start(&config);
    }
    for (i = 0; i < count; i++) {
        if (i % 2 == 1) {
            EVENTUALLY(__atomic_load_n(&called[i], __ATOMIC_SEQ_CST));
        } else {
            skip(watchers[i], HANDOFF_EVENT_READY);
            CHECK(handoff_watcher_fd(watchers[i]) >= 0 || i > 100); /* As far as descriptors reach. */
        }
    }
    began = now_ms();
    for (i = 0; i < count; i++) {
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watchers[i]));
    }
    /* An interval each would be a quarter of an hour. */
    CHECK(now_ms() - began < DEADLINE_MS);
    free(watchers);
    free(called);
    return 0;
}
