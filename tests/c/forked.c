/* The host forks: the child gets a status at once and no event, and the parent loses none. */
#include <sys/wait.h>

#include "common.h"

static int destroyed;

static void on_destroy(void *user_data) {
    (void)user_data;
    destroyed += 1;
}

static int32_t on_event(const handoff_event *event, void *user_data) {
    (void)event;
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
    return HANDOFF_ACCEPT;
}

#define FORKED(call) CHECK_STATUS(HANDOFF_ERROR_FORKED, call)

static void child(handoff_watcher *asked, handoff_watcher *called, int *calls) {
    int before = __atomic_load_n(calls, __ATOMIC_SEQ_CST);
    handoff_event *event = NULL;
    handoff_stats stats;
    handoff_health health;
    uint64_t number = 0;
    char *json = NULL;
    handoff_config config = quick_config();
    handoff_watcher *own;
    alarm(DEADLINE_MS / 1000);
    stats.struct_size = sizeof stats;
    health.struct_size = sizeof health;
    FORKED(handoff_watcher_next(asked, -1, &event));
    FORKED(handoff_watcher_next(asked, 0, &event));
    FORKED(handoff_watcher_fd(asked));
    FORKED(handoff_watcher_rescan(asked));
    FORKED(handoff_registry_is_ready(asked, "p"));
    FORKED(handoff_registry_wait_ready(asked, "p", -1));
    FORKED(handoff_registry_wait_replica_ready(asked, "p", "r0", -1));
    FORKED(handoff_registry_get(asked, "p", "r0", &json));
    FORKED(handoff_registry_list(asked, &json));
    FORKED(handoff_registry_pools(asked, &json));
    FORKED(handoff_registry_count(asked, &number));
    FORKED(handoff_registry_generation(asked, &number));
    FORKED(handoff_watcher_stats(asked, &stats));
    FORKED(handoff_watcher_stats_json(asked, &json));
    FORKED(handoff_watcher_metrics(asked, &json));
    FORKED(handoff_watcher_health(asked, &health));
    FORKED(handoff_watcher_health_json(asked, &json));
    FORKED(handoff_watcher_stop(asked));
    FORKED(handoff_watcher_join(asked, -1));
    FORKED(handoff_watcher_stop(called));
    FORKED(handoff_watcher_free(called));
    FORKED(handoff_watcher_free(asked));
    FORKED(handoff_watcher_free(asked));
    CHECK(strstr(handoff_last_error(), "fork") != NULL);
    /* A watcher of its own works. */
    own = start(&config);
    skip(own, HANDOFF_EVENT_READY);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(own));
    CHECK(destroyed == 0 && __atomic_load_n(calls, __ATOMIC_SEQ_CST) == before);
    /* Not by _exit: valgrind would call a leak what the parent's threads hold, of which there are none here. */
    execlp("true", "true", (char *)NULL);
    _exit(1);
}

int main(void) {
    int round, calls = 0;
    handoff_config config;
    handoff_watcher *asked, *called;
    make_dir();
    write_handoff("p", 0, 1);
    config = quick_config();
    asked = start(&config);
    config.on_event = on_event;
    config.on_destroy = on_destroy;
    config.user_data = &calls;
    called = start(&config);
    CHECK(handoff_watcher_fd(asked) >= 0);
    skip(asked, HANDOFF_EVENT_READY);
    skip(asked, HANDOFF_EVENT_SYNCED);
    EVENTUALLY(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) == 2);
    for (round = 1; round <= scaled(20); round++) {
        int outcome = -1;
        struct pollfd readable = {handoff_watcher_fd(asked), POLLIN, 0};
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child(asked, called, &calls);
        }
        CHECK(waitpid(pid, &outcome, 0) == pid);
        CHECK(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0);
        /* The parent: one event a change, neither lost nor doubled. */
        write_handoff("p", 0, 1 + round);
        CHECK(poll(&readable, 1, DEADLINE_MS) == 1);
        skip(asked, HANDOFF_EVENT_UPDATED);
        CHECK(poll(&readable, 1, 0) == 0);
        EVENTUALLY(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) == 2 + round);
    }
    CHECK(destroyed == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(called));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(asked));
    CHECK(destroyed == 1);
    return 0;
}
