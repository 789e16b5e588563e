/* NULL, and other arguments that cannot be: a status or an empty answer, and never a crash. */
#include "common.h"

#define REFUSED(call) CHECK_STATUS(HANDOFF_ERROR_INVALID_ARGUMENT, call)

int main(void) {
    char *json = NULL;
    uint64_t number = 7;
    size_t length = 7;
    handoff_watcher *watcher = NULL;
    handoff_event *event = NULL;
    handoff_stats stats;
    handoff_health health;
    handoff_payload payload;
    handoff_config config;
    make_dir();

    CHECK_TEXT("", handoff_last_error());
    CHECK(handoff_last_error_field() == NULL && handoff_last_error_line() == -1 && handoff_last_error_column() == -1);

    REFUSED(handoff_config_init(NULL, sizeof config));
    REFUSED(handoff_config_init(&config, 0));
    REFUSED(handoff_config_init(&config, sizeof config + 1));
    REFUSED(handoff_watcher_new(NULL, NULL));
    REFUSED(handoff_watcher_next(NULL, 0, &event));
    REFUSED(handoff_watcher_fd(NULL));
    REFUSED(handoff_watcher_rescan(NULL));
    REFUSED(handoff_watcher_stop(NULL));
    REFUSED(handoff_watcher_join(NULL, 0));
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(NULL));
    REFUSED(handoff_registry_is_ready(NULL, "p"));
    REFUSED(handoff_registry_wait_ready(NULL, "p", 0));
    REFUSED(handoff_registry_wait_replica_ready(NULL, "p", "r", 0));
    REFUSED(handoff_registry_get(NULL, "p", "r", &json));
    REFUSED(handoff_registry_list(NULL, &json));
    REFUSED(handoff_registry_pools(NULL, &json));
    REFUSED(handoff_registry_count(NULL, &number));
    REFUSED(handoff_registry_generation(NULL, &number));
    REFUSED(handoff_watcher_stats(NULL, &stats));
    REFUSED(handoff_watcher_stats_json(NULL, &json));
    REFUSED(handoff_watcher_metrics(NULL, &json));
    REFUSED(handoff_watcher_health(NULL, &health));
    REFUSED(handoff_watcher_health_json(NULL, &json));
    CHECK(strstr(handoff_last_error(), "watcher") != NULL);
    CHECK_TEXT("watcher", handoff_last_error_field());
    CHECK(handoff_last_error_line() == -1);

    /* NULL for the configuration means the defaults, which wait for a directory that is not there. */
    CHECK(chdir(temporary_dir) == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(NULL, &watcher));
    REFUSED(handoff_watcher_next(watcher, 0, NULL));
    skip(watcher, HANDOFF_EVENT_UNAVAILABLE);
    CHECK_STATUS(HANDOFF_TIMEOUT, handoff_watcher_next(watcher, 0, &event));
    CHECK(event == NULL);
    REFUSED(handoff_registry_is_ready(watcher, NULL));
    REFUSED(handoff_registry_is_ready(watcher, "\xff"));
    REFUSED(handoff_registry_wait_ready(watcher, NULL, -1));
    REFUSED(handoff_registry_wait_replica_ready(watcher, "p", NULL, -1));
    REFUSED(handoff_registry_wait_replica_ready(watcher, NULL, "r", -1));
    REFUSED(handoff_registry_get(watcher, "p", "r", NULL));
    REFUSED(handoff_registry_get(watcher, NULL, "r", &json));
    REFUSED(handoff_registry_get(watcher, "p", NULL, &json));
    REFUSED(handoff_registry_list(watcher, NULL));
    REFUSED(handoff_registry_pools(watcher, NULL));
    REFUSED(handoff_registry_count(watcher, NULL));
    REFUSED(handoff_registry_generation(watcher, NULL));
    REFUSED(handoff_watcher_stats(watcher, NULL));
    REFUSED(handoff_watcher_stats_json(watcher, NULL));
    REFUSED(handoff_watcher_metrics(watcher, NULL));
    REFUSED(handoff_watcher_health(watcher, NULL));
    REFUSED(handoff_watcher_health_json(watcher, NULL));
    stats.struct_size = 0;
    REFUSED(handoff_watcher_stats(watcher, &stats));
    health.struct_size = 1 << 30;
    REFUSED(handoff_watcher_health(watcher, &health));
    CHECK(json == NULL && number == 7);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));

    CHECK(handoff_event_kind(NULL) == 0);
    CHECK_TEXT("", handoff_event_name(NULL));
    CHECK(handoff_event_file(NULL, NULL) == NULL);
    CHECK(handoff_event_file(NULL, &length) == NULL && length == 0);
    CHECK(handoff_event_pool_id(NULL) == NULL && handoff_event_replica_id(NULL) == NULL);
    CHECK(handoff_event_url(NULL) == NULL && handoff_event_engine(NULL, NULL) == NULL);
    CHECK(handoff_event_slots(NULL) == -1 && handoff_event_slots_free(NULL) == -1 && handoff_event_pid(NULL) == -1);
    CHECK(handoff_event_latency_us(NULL) == -1);
    CHECK(handoff_event_reason(NULL) == 0 && handoff_event_reason_name(NULL) == NULL);
    CHECK(handoff_event_error(NULL) == NULL && handoff_event_error_status(NULL) == HANDOFF_OK);
    CHECK(handoff_event_error_field(NULL) == NULL);
    CHECK(handoff_event_error_line(NULL) == -1 && handoff_event_error_column(NULL) == -1);
    CHECK(handoff_event_loser_count(NULL) == 0 && handoff_event_loser(NULL, 0, NULL) == NULL);
    REFUSED(handoff_event_json(NULL, &json));
    REFUSED(handoff_event_clone(NULL, &event));
    handoff_event_free(NULL);
    handoff_string_free(NULL);

    memset(&payload, 0, sizeof payload);
    REFUSED(handoff_publish(temporary_dir, &payload, NULL));
    payload.struct_size = sizeof payload;
    REFUSED(handoff_publish(temporary_dir, &payload, NULL));
    REFUSED(handoff_publish(temporary_dir, NULL, NULL));
    payload.pool_id = "p", payload.replica_id = "r", payload.url = "http://h";
    REFUSED(handoff_publish(NULL, &payload, NULL));
    payload.flag_count = 1;
    REFUSED(handoff_publish(temporary_dir, &payload, NULL));
    payload.flag_count = 0, payload.not_ready = 5;
    REFUSED(handoff_publish(temporary_dir, &payload, NULL));
    CHECK_TEXT("not_ready", handoff_last_error_field());
    payload.not_ready = 1;
    CHECK_STATUS(HANDOFF_ERROR_CONFIG, handoff_publish("", &payload, NULL));
    CHECK_TEXT("runtime_dir", handoff_last_error_field());
    CHECK_STATUS(HANDOFF_ERROR_CONFIG, handoff_withdraw("", "p", "r"));
    CHECK_TEXT("runtime_dir", handoff_last_error_field());
    REFUSED(handoff_publish_json(temporary_dir, NULL, 1, NULL));
    REFUSED(handoff_publish_json(temporary_dir, NULL, 0, NULL));
    CHECK_TEXT("json", handoff_last_error_field());
    REFUSED(handoff_publish_json(NULL, "{}", 2, NULL));
    REFUSED(handoff_withdraw(NULL, "p", "r"));
    REFUSED(handoff_withdraw(temporary_dir, NULL, "r"));
    REFUSED(handoff_withdraw(temporary_dir, "p", NULL));
    REFUSED(handoff_check(NULL, 1, NULL));
    CHECK_STATUS(HANDOFF_ERROR_SYNTAX, handoff_check(NULL, 0, NULL));

    CHECK_TEXT("ok", handoff_status_name(HANDOFF_OK));
    CHECK_TEXT("unknown", handoff_status_name(12345));
    CHECK_TEXT("0.1.0", handoff_version());
    return 0;
}
