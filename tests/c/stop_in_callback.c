/* The callback stops its watcher: no further one starts, and what would wait for the callback itself is refused. */
#include "common.h"

struct host {
    handoff_watcher *watcher;
    int calls, destroyed;
    pthread_mutex_t lock;
};

static int32_t on_event(const handoff_event *event, void *user_data) {
    struct host *host = (struct host *)user_data;
    handoff_event *taken = NULL;
    CHECK(event != NULL);
    /* The handle is there before the first callback. */
    CHECK(host->watcher != NULL);
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_free(host->watcher));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_join(host->watcher, -1));
    CHECK_STATUS(HANDOFF_ERROR_INVALID_ARGUMENT, handoff_watcher_next(host->watcher, -1, &taken));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_rescan(host->watcher));
    CHECK_STATUS(HANDOFF_OK, handoff_registry_wait_ready(host->watcher, "p", -1));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(host->watcher));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(host->watcher));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_watcher_rescan(host->watcher));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_registry_wait_ready(host->watcher, "other", -1));
    pthread_mutex_lock(&host->lock);
    host->calls += 1;
    pthread_mutex_unlock(&host->lock);
    return HANDOFF_RETRY;
}

static void on_destroy(void *user_data) {
    struct host *host = (struct host *)user_data;
    host->destroyed += 1;
}

int main(void) {
    int i;
    make_dir();
    for (i = 0; i < 10; i++) {
        write_handoff("p", i, 1);
    }
    for (i = 0; i < scaled(100); i++) {
        struct host host = {NULL, 0, 0, PTHREAD_MUTEX_INITIALIZER};
        handoff_config config = quick_config();
        config.on_event = on_event;
        config.on_destroy = on_destroy;
        config.user_data = &host;
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(&config, &host.watcher));
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_join(host.watcher, DEADLINE_MS));
        CHECK(host.calls == 1);
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_join(host.watcher, 0));
        CHECK(host.destroyed == 0);
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(host.watcher));
        CHECK(host.destroyed == 1 && host.calls == 1);
    }
    return 0;
}
