/* The descriptor is readable exactly while an event waits, and for good after a stop. */
#include <fcntl.h>

#include "common.h"

static int is_readable(handoff_watcher *watcher, int timeout_ms) {
    struct pollfd readable;
    readable.fd = handoff_watcher_fd(watcher);
    readable.events = POLLIN;
    CHECK(readable.fd >= 0);
    return poll(&readable, 1, timeout_ms) == 1 && readable.revents == POLLIN;
}

static int32_t on_event(const handoff_event *event, void *user_data) {
    (void)event, (void)user_data;
    return HANDOFF_ACCEPT;
}

int main(void) {
    int round, taken;
    handoff_event *event = NULL;
    handoff_config config;
    handoff_watcher *watcher;
    make_dir();
    config = quick_config();
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_SYNCED);
    CHECK(handoff_watcher_fd(watcher) == handoff_watcher_fd(watcher));
    CHECK((fcntl(handoff_watcher_fd(watcher), F_GETFD) & FD_CLOEXEC) != 0);
    for (round = 1; round <= 20; round++) {
        int i;
        CHECK(!is_readable(watcher, 0));
        for (i = 0; i < 3; i++) {
            write_handoff("p", i, round);
        }
        for (taken = 0; taken < 3;) {
            CHECK(is_readable(watcher, DEADLINE_MS));
            CHECK_STATUS(HANDOFF_OK, handoff_watcher_next(watcher, 0, &event));
            handoff_event_free(event);
            taken += 1;
        }
        CHECK_STATUS(HANDOFF_TIMEOUT, handoff_watcher_next(watcher, 0, &event));
    }
    CHECK(!is_readable(watcher, 0));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(watcher));
    CHECK(is_readable(watcher, 0));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_watcher_next(watcher, 0, &event));
    CHECK(is_readable(watcher, 0));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));

    /* Asked for after the stop it is readable at once; a watcher that calls back has none. */
    watcher = start(&config);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(watcher));
    CHECK(is_readable(watcher, 0));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    config.on_event = on_event;
    watcher = start(&config);
    CHECK_STATUS(HANDOFF_ERROR_INVALID_ARGUMENT, handoff_watcher_fd(watcher));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
