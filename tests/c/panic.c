/* A panic inside the library becomes a status, and the library goes on. Runs with a library that was built to panic at the
 * entry of each function while HANDOFF_PANIC is set. */
#include "common.h"

#define CAUGHT(call) CHECK_STATUS(HANDOFF_ERROR_INTERNAL, call)

int main(void) {
    char *json = NULL;
    uint64_t number = 0;
    handoff_config config = HANDOFF_CONFIG_INIT;
    handoff_event *event = NULL, *copy = NULL;
    handoff_watcher *watcher, *other = NULL;
    handoff_stats stats;
    handoff_health health;
    handoff_payload payload;
    make_dir();
    write_handoff("p", 0, 1);
    config = quick_config();
    watcher = start(&config);
    event = expect(watcher, HANDOFF_EVENT_READY);
    memset(&payload, 0, sizeof payload);
    stats.struct_size = sizeof stats;
    health.struct_size = sizeof health;

    setenv("HANDOFF_PANIC", "1", 1);
    CAUGHT(handoff_config_init(&config, sizeof config));
    CAUGHT(handoff_watcher_new(&config, &other));
    CAUGHT(handoff_watcher_next(watcher, 0, &copy));
    CAUGHT(handoff_watcher_fd(watcher));
    CAUGHT(handoff_watcher_rescan(watcher));
    CAUGHT(handoff_watcher_stop(watcher));
    CAUGHT(handoff_watcher_join(watcher, -1));
    CAUGHT(handoff_watcher_free(watcher));
    CAUGHT(handoff_registry_is_ready(watcher, "p"));
    CAUGHT(handoff_registry_wait_ready(watcher, "q", -1));
    CAUGHT(handoff_registry_wait_replica_ready(watcher, "q", "r", -1));
    CAUGHT(handoff_registry_get(watcher, "p", "r0", &json));
    CAUGHT(handoff_registry_list(watcher, &json));
    CAUGHT(handoff_registry_pools(watcher, &json));
    CAUGHT(handoff_registry_count(watcher, &number));
    CAUGHT(handoff_registry_generation(watcher, &number));
    CAUGHT(handoff_watcher_stats(watcher, &stats));
    CAUGHT(handoff_watcher_stats_json(watcher, &json));
    CAUGHT(handoff_watcher_metrics(watcher, &json));
    CAUGHT(handoff_watcher_health(watcher, &health));
    CAUGHT(handoff_watcher_health_json(watcher, &json));
    CAUGHT(handoff_event_json(event, &json));
    CAUGHT(handoff_event_clone(event, &copy));
    CAUGHT(handoff_publish(temporary_dir, &payload, NULL));
    CAUGHT(handoff_publish_json(temporary_dir, "", 0, NULL));
    CAUGHT(handoff_withdraw(temporary_dir, "p", "r"));
    CAUGHT(handoff_check("", 0, NULL));
    CHECK(handoff_event_kind(event) == 0 && handoff_event_pool_id(event) == NULL && handoff_event_slots(event) == -1);
    handoff_event_free(event);
    CHECK_TEXT("", handoff_last_error());
    unsetenv("HANDOFF_PANIC");

    CHECK(strstr(handoff_last_error(), "please report it: provoked") != NULL);
    CHECK(json == NULL && copy == NULL && other == NULL && number == 0);
    /* Neither the watcher nor the event was freed, and both go on. */
    CHECK_TEXT("p", handoff_event_pool_id(event));
    handoff_event_free(event);
    write_handoff("p", 0, 2);
    skip(watcher, HANDOFF_EVENT_SYNCED);
    skip(watcher, HANDOFF_EVENT_UPDATED);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
