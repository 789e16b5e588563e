/* One life of a directory, told through every function: events with all their accessors, the registry, the figures, the
 * producer's side. */
#include "common.h"

static const char HANDOFF[] = "{\"pool_id\":\"pool-0\",\"replica_id\":\"r0\",\"url\":\"http://localhost:8080\","
                              "\"engine\":\"llamacpp\",\"slots\":4,\"slots_free\":3,\"pid\":4711,\"zone\":\"b\"}";

static void check_json(char *json, const char *part) {
    check(strstr(json, part) != NULL, json, part, 0);
    handoff_string_free(json);
}

static void ready_and_updated(handoff_watcher *watcher) {
    char *json = NULL, *file = NULL, path[PATH_MAX + 32];
    uint64_t before = 0, after = 0;
    size_t length = 0;
    handoff_event *event, *copy = NULL;
    uint32_t slots = 8, slots_free = 0;
    const char *flags[] = {"--threads", "8"};
    handoff_payload payload;
    CHECK_STATUS(HANDOFF_OK, handoff_registry_generation(watcher, &before));
    CHECK_STATUS(HANDOFF_NOT_FOUND, handoff_registry_is_ready(watcher, "pool-0"));
    CHECK_STATUS(HANDOFF_NOT_FOUND, handoff_registry_get(watcher, "pool-0", "r0", &json));
    CHECK_STATUS(HANDOFF_TIMEOUT, handoff_registry_wait_ready(watcher, "pool-0", 0));
    CHECK_STATUS(HANDOFF_OK, handoff_publish_json(temporary_dir, HANDOFF, strlen(HANDOFF), &file));
    snprintf(path, sizeof path, "%s/pool-0-r0.json", temporary_dir);
    CHECK_TEXT(path, file);
    handoff_string_free(file);

    event = expect(watcher, HANDOFF_EVENT_READY);
    CHECK_TEXT("ready", handoff_event_name(event));
    CHECK_TEXT(path, handoff_event_file(event, &length));
    CHECK(length == strlen(path));
    CHECK_TEXT("pool-0", handoff_event_pool_id(event));
    CHECK_TEXT("r0", handoff_event_replica_id(event));
    CHECK_TEXT("http://localhost:8080", handoff_event_url(event));
    CHECK_TEXT("llamacpp", handoff_event_engine(event, NULL));
    CHECK(handoff_event_slots(event) == 4 && handoff_event_slots_free(event) == 3 && handoff_event_pid(event) == 4711);
    CHECK(handoff_event_latency_us(event) >= 0);
    CHECK(handoff_event_reason(event) == 0 && handoff_event_reason_name(event) == NULL);
    CHECK(handoff_event_error(event) == NULL && handoff_event_error_status(event) == HANDOFF_OK);
    CHECK_STATUS(HANDOFF_OK, handoff_event_clone(event, &copy));
    handoff_event_free(event);
    CHECK_STATUS(HANDOFF_OK, handoff_event_json(copy, &json));
    CHECK(strncmp(json, "{\"event\":\"ready\",\"file\":\"", 25) == 0);
    check_json(json, "\"zone\":\"b\"");
    handoff_event_free(copy);

    CHECK_STATUS(HANDOFF_OK, handoff_registry_is_ready(watcher, "pool-0"));
    CHECK_STATUS(HANDOFF_OK, handoff_registry_wait_ready(watcher, "pool-0", -1));
    CHECK_STATUS(HANDOFF_OK, handoff_registry_wait_replica_ready(watcher, "pool-0", "r0", 0));
    CHECK_STATUS(HANDOFF_OK, handoff_registry_generation(watcher, &after));
    CHECK(after > before);

    memset(&payload, 0, sizeof payload);
    payload.struct_size = sizeof payload;
    payload.pool_id = "pool-0", payload.replica_id = "r0", payload.url = "http://localhost:8081";
    payload.slots = &slots, payload.slots_free = &slots_free;
    payload.flags = flags, payload.flag_count = 2;
    payload.model_path = "/models/m.gguf";
    CHECK_STATUS(HANDOFF_OK, handoff_publish(temporary_dir, &payload, NULL));
    event = expect(watcher, HANDOFF_EVENT_UPDATED);
    CHECK_TEXT("http://localhost:8081", handoff_event_url(event));
    CHECK(handoff_event_engine(event, &length) == NULL && length == 0);
    CHECK(handoff_event_slots(event) == 8 && handoff_event_slots_free(event) == 0 && handoff_event_pid(event) == -1);
    CHECK_STATUS(HANDOFF_OK, handoff_event_json(event, &json));
    check_json(json, "\"previous\":{\"pool_id\":\"pool-0\"");
    handoff_event_free(event);
    CHECK_STATUS(HANDOFF_OK, handoff_registry_get(watcher, "pool-0", "r0", &json));
    check_json(json, "\"flags\":[\"--threads\",\"8\"]");
    CHECK_STATUS(HANDOFF_OK, handoff_registry_list(watcher, &json));
    check_json(json, "[{\"pool_id\":\"pool-0\"");
    CHECK_STATUS(HANDOFF_OK, handoff_registry_pools(watcher, &json));
    check_json(json, "\"slots_total\":8");
    CHECK_STATUS(HANDOFF_OK, handoff_registry_count(watcher, &after));
    CHECK(after == 1);
}

static void conflict_and_removed(handoff_watcher *watcher) {
    handoff_event *event;
    const char *loser;
    size_t length = 0;
    write_file("z.json", "{\"pool_id\":\"pool-0\",\"replica_id\":\"r0\",\"url\":\"http://z\"}");
    /* The claim, and what comes of it. */
    event = expect(watcher, HANDOFF_EVENT_CONFLICT);
    CHECK_TEXT("pool-0", handoff_event_pool_id(event));
    CHECK(strstr(handoff_event_file(event, NULL), "/z.json") != NULL);
    CHECK(handoff_event_loser_count(event) == 1);
    loser = handoff_event_loser(event, 0, &length);
    CHECK(strstr(loser, "/pool-0-r0.json") != NULL && length == strlen(loser));
    CHECK(handoff_event_loser(event, 1, &length) == NULL && length == 0);
    handoff_event_free(event);
    skip(watcher, HANDOFF_EVENT_UPDATED);
    remove_file("z.json");
    skip(watcher, HANDOFF_EVENT_UPDATED);

    CHECK_STATUS(HANDOFF_OK, handoff_withdraw(temporary_dir, "pool-0", "r0"));
    CHECK_STATUS(HANDOFF_NOT_FOUND, handoff_withdraw(temporary_dir, "pool-0", "r0"));
    event = expect(watcher, HANDOFF_EVENT_REMOVED);
    CHECK(handoff_event_reason(event) == HANDOFF_REASON_FILE_REMOVED);
    CHECK_TEXT("file_removed", handoff_event_reason_name(event));
    CHECK_TEXT("http://localhost:8081", handoff_event_url(event));
    CHECK(handoff_event_latency_us(event) == -1);
    handoff_event_free(event);
}

static void invalid_and_unavailable(handoff_watcher *watcher) {
    handoff_event *event;
    char aside[PATH_MAX + 8];
    write_file("bad.json", "{\"pool_id\":\"p\",\n \"replica_id\":\"r\",\"url\":\"http://h\",\"slots\":-1}");
    event = expect(watcher, HANDOFF_EVENT_INVALID);
    CHECK(strstr(handoff_event_error(event), "bad.json:2:") != NULL);
    CHECK(handoff_event_error_status(event) == HANDOFF_ERROR_SCHEMA);
    CHECK_TEXT("slots", handoff_event_error_field(event));
    CHECK(handoff_event_error_line(event) == 2 && handoff_event_error_column(event) > 1);
    CHECK(handoff_event_pool_id(event) == NULL && handoff_event_url(event) == NULL);
    handoff_event_free(event);

    snprintf(aside, sizeof aside, "%s.away", temporary_dir);
    CHECK(rename(temporary_dir, aside) == 0);
    CHECK_STATUS(HANDOFF_ERROR_IO, handoff_watcher_rescan(watcher));
    CHECK_TEXT(temporary_dir, handoff_last_error_path());
    event = expect(watcher, HANDOFF_EVENT_UNAVAILABLE);
    CHECK(handoff_event_error_status(event) == HANDOFF_ERROR_IO && handoff_event_error_line(event) == -1);
    CHECK(handoff_event_file(event, NULL) == NULL);
    handoff_event_free(event);
    CHECK(rename(aside, temporary_dir) == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_rescan(watcher));
    skip(watcher, HANDOFF_EVENT_AVAILABLE);
}

static void figures(handoff_watcher *watcher) {
    handoff_stats stats;
    handoff_health health;
    char *json = NULL;
    uint64_t sum = 0;
    int i;
    stats.struct_size = sizeof stats;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stats(watcher, &stats));
    CHECK(stats.struct_size == sizeof stats && stats.scans > 0 && stats.reads > 0 && stats.available == 1);
    CHECK(stats.events_ready == 1 && stats.events_updated == 3 && stats.events_removed == 1);
    CHECK(stats.events_invalid == 1 && stats.events_conflict == 1 && stats.events_synced == 1);
    CHECK(stats.events_unavailable == 1 && stats.events_available == 1 && stats.scan_age_us >= 0);
    for (i = 0; i < HANDOFF_LATENCY_BUCKETS; i++) {
        sum += stats.latency_buckets[i];
    }
    CHECK(sum == stats.latency_count && stats.latency_max_us >= stats.latency_last_us);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stats_json(watcher, &json));
    check_json(json, "\"scans\":");
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_metrics(watcher, &json));
    check_json(json, "\nhandoff_watcher_events_total{event=\"updated\"} 3\n");

    health.struct_size = sizeof health;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_health(watcher, &health));
    CHECK(health.ok == 1 && health.running == 1 && health.available == 1 && health.stalled == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_health_json(watcher, &json));
    check_json(json, "\"running\":true");
}

static void documents(void) {
    char *json = NULL;
    CHECK_STATUS(HANDOFF_OK, handoff_check(HANDOFF, strlen(HANDOFF), NULL));
    CHECK_STATUS(HANDOFF_OK, handoff_check(HANDOFF, strlen(HANDOFF), &json));
    check_json(json, "{\"pool_id\":\"pool-0\"");
    json = NULL;
    CHECK_STATUS(HANDOFF_ERROR_SYNTAX, handoff_check("{\n\"pool_id\" 1}", 14, &json));
    CHECK(handoff_last_error_line() == 2 && handoff_last_error_column() > 0 && handoff_last_error_field() == NULL);
    CHECK(handoff_last_error_path() == NULL);
    CHECK_STATUS(HANDOFF_ERROR_SCHEMA, handoff_check("{\"pool_id\":1}", 13, &json));
    CHECK_TEXT("pool_id", handoff_last_error_field());
    CHECK(json == NULL);
}

int main(void) {
    handoff_config config;
    handoff_watcher *watcher;
    handoff_health health;
    handoff_event *event = NULL;
    make_dir();
    documents();
    config = quick_config();
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_SYNCED);
    ready_and_updated(watcher);
    conflict_and_removed(watcher);
    invalid_and_unavailable(watcher);
    figures(watcher);

    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stop(watcher));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_join(watcher, -1));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_watcher_next(watcher, -1, &event));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_watcher_rescan(watcher));
    CHECK_STATUS(HANDOFF_STOPPED, handoff_registry_wait_ready(watcher, "pool-0", -1));
    health.struct_size = sizeof health;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_health(watcher, &health));
    CHECK(health.ok == 0 && health.running == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
