/* The host's own logging, a retry, and the one end of user_data. */
#include "common.h"

struct host {
    handoff_watcher *watcher;
    int events, lines, warnings, refusals, destroyed;
};

static void add(int *count) {
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static int is_at_least(int *count, int least) {
    return __atomic_load_n(count, __ATOMIC_SEQ_CST) >= least;
}

static void on_log(int32_t level, const char *text, void *user_data) {
    struct host *host = (struct host *)user_data;
    handoff_event *event = NULL;
    CHECK(host->destroyed == 0);
    CHECK(level >= HANDOFF_LOG_ERROR && level <= HANDOFF_LOG_DEBUG);
    CHECK(text != NULL && text[0] != '\0' && strchr(text, '\n') == NULL);
    add(&host->lines);
    if (level == HANDOFF_LOG_WARN) {
        add(&host->warnings);
    }
    if (strstr(text, "asked for a retry") != NULL) {
        add(&host->refusals);
    }
    /* What would wait for this very watcher is refused; to stop it and to ask it is not. */
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_free(host->watcher));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_join(host->watcher, -1));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_next(host->watcher, -1, &event));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_watcher_rescan(host->watcher));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_registry_wait_ready(host->watcher, "never", -1));
    CHECK_STATUS(HANDOFF_ERROR_BUSY, handoff_registry_wait_replica_ready(host->watcher, "never", "r", -1));
    CHECK_STATUS(HANDOFF_NOT_FOUND, handoff_registry_is_ready(host->watcher, "never"));
}

static int32_t on_event(const handoff_event *event, void *user_data) {
    struct host *host = (struct host *)user_data;
    CHECK(event != NULL && host->destroyed == 0);
    add(&host->events);
    return __atomic_load_n(&host->events, __ATOMIC_SEQ_CST) <= 3 ? HANDOFF_RETRY : HANDOFF_ACCEPT;
}

static void on_destroy(void *user_data) {
    add(&((struct host *)user_data)->destroyed);
}

int main(void) {
    struct host *host = (struct host *)calloc(1, sizeof *host);
    handoff_config config;
    handoff_watcher *failed = NULL;
    handoff_stats stats;
    CHECK(host != NULL);
    make_dir();
    write_handoff("p", 0, 1);
    write_file("bad.json", "no json");
    config = quick_config();
    config.on_event = on_event;
    config.on_log = on_log;
    config.on_destroy = on_destroy;
    config.log_level = HANDOFF_LOG_DEBUG;
    config.user_data = host;

    /* What fails has taken nothing. */
    config.poll_interval_ms = UINT64_MAX;
    CHECK_STATUS(HANDOFF_ERROR_CONFIG, handoff_watcher_new(&config, &failed));
    CHECK(failed == NULL && host->destroyed == 0);
    config.poll_interval_ms = 5;

    /* By callback. `ready`, `invalid` and `synced`, of which the first tries are refused, which is logged once. */
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(&config, &host->watcher));
    EVENTUALLY(is_at_least(&host->events, 3 + 3));
    EVENTUALLY(is_at_least(&host->warnings, 2));
    CHECK(is_at_least(&host->refusals, 1));
    stats.struct_size = sizeof stats;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stats(host->watcher, &stats));
    CHECK(stats.retries == 3);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(host->watcher));
    CHECK(host->destroyed == 1);

    /* By queue: the lines come on the thread that takes the event. At the default level `ready` is not worth one. */
    memset(host, 0, sizeof *host);
    config.on_event = NULL;
    config.log_level = 0;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(&config, &host->watcher));
    {
        int i, invalid = 0;
        for (i = 0; i < 3; i++) {
            handoff_event *event = NULL;
            CHECK_STATUS(HANDOFF_OK, handoff_watcher_next(host->watcher, DEADLINE_MS, &event));
            invalid += handoff_event_kind(event) == HANDOFF_EVENT_INVALID;
            CHECK(host->lines == invalid);
            handoff_event_free(event);
        }
        CHECK(invalid == 1);
    }
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(host->watcher));
    CHECK(host->destroyed == 1);
    free(host);
    return 0;
}
