/* Settings that cannot be: one status for all of them, and the name of the field as C has it. Where they come from. */
#include "common.h"

static handoff_config config;

static void refused(const char *field, const char *text) {
    handoff_watcher *watcher = NULL;
    CHECK_STATUS(HANDOFF_ERROR_CONFIG, handoff_watcher_new(&config, &watcher));
    CHECK(watcher == NULL);
    CHECK_TEXT(field, handoff_last_error_field());
    if (strstr(handoff_last_error(), text) == NULL) {
        CHECK_TEXT(text, handoff_last_error());
    }
    config = quick_config();
}

static void accepted(void) {
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(start(&config)));
    config = quick_config();
}

static void impossible_values(void) {
    uint32_t uid = 1;
    config.runtime_dir = "";
    refused("runtime_dir", "expected the path of a directory, found \"\"");
    config.poll_interval_ms = 86400001;
    refused("poll_interval_ms", "setting `poll_interval_ms`: expected 1 to 86400000 ms, found 86400001");
    config.channel_capacity = UINT64_MAX;
    refused("channel_capacity", "expected 1 to 65536 events");
    config.max_file_size = UINT64_MAX;
    refused("max_file_size", "expected 1 to 1073741824 bytes");
    config.settle_time_ms = 3600001;
    refused("settle_time_ms", "setting `settle_time_ms`: expected 1 to 3600000 ms, found 3600001");
    config.thread_name = "";
    refused("thread_name", "expected a name");
    config.thread_name = "\xff";
    refused("thread_name", "setting `thread_name`: expected UTF-8");
    config.trusted_uids = &uid;
    config.trusted_uid_count = 1;
    refused("trusted_uids", "expected none, as `trust` is 0");
    config.trust = 1;
    config.trusted_uid_count = 1;
    refused("trusted_uids", "found NULL");
    config.trust = 1;
    config.trusted_uids = &uid;
    config.trusted_uid_count = 65537;
    refused("trusted_uid_count", "expected 0 to 65536, found 65537");
}

static void numbers_without_a_meaning(void) {
    config.mode = 7;
    refused("mode", "setting `mode`: expected 0 or 1, found 7");
    config.log_level = 9;
    refused("log_level", "setting `log_level`: expected 0 to 4, found 9");
    config.no_follow_symlinks = 2;
    refused("no_follow_symlinks", "setting `no_follow_symlinks`: expected 0 or 1, found 2");
    config.read_environment = -1;
    refused("read_environment", "expected 0 or 1, found -1");
    config.instant = 2;
    refused("instant", "expected 0 or 1, found 2");
    config.trust = 2;
    refused("trust", "expected 0 or 1, found 2");
    config.check_processes = 2;
    refused("check_processes", "expected 0 or 1, found 2");
    config.consume = 2;
    refused("consume", "expected 0 or 1, found 2");
    config.consume = 1;
    refused("consume", "expected 0, as `mode` is HANDOFF_MODE_STATE");
}

/* The two bound each other, and one of them may be the default. */
static void retries(void) {
    config.retry_first_ms = 86400001;
    refused("retry_first_ms", "expected 1 to 86400000 ms, found 86400001");
    config.retry_most_ms = 86400001;
    refused("retry_most_ms", "expected 1 to 86400000 ms, found 86400001");
    config.retry_first_ms = 50000;
    refused("retry_first_ms", "expected at most the default of `retry_most_ms`, 30000 ms, found 50000");
    config.retry_first_ms = 0;
    config.retry_most_ms = 50;
    refused("retry_most_ms", "expected at least the default of `retry_first_ms`, 100 ms, found 50");
    config.retry_first_ms = 200;
    config.retry_most_ms = 100;
    refused("retry_most_ms", "expected at least `retry_first_ms`, 200 ms, found 100");
    config.retry_first_ms = config.retry_most_ms = 50000;
    accepted();
}

/* The environment is asked where the configuration says so, for each setting that it does not have itself. */
static void environment(void) {
    handoff_watcher *watcher;
    setenv("POOL_MANAGERD_RUNTIME_DIR", temporary_dir, 1);
    setenv("POOL_MANAGERD_WATCH_INTERVAL_MS", "7 days", 1);
    config.read_environment = 1;
    accepted();
    config.poll_interval_ms = 100;
    config.runtime_dir = NULL;
    config.read_environment = 1;
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_READY);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    config.poll_interval_ms = 0;
    config.runtime_dir = temporary_dir;
    refused("POOL_MANAGERD_WATCH_INTERVAL_MS", "found \"7 days\"");
    config.poll_interval_ms = 0;
    accepted();

    setenv("POOL_MANAGERD_WATCH_INTERVAL_MS", "5", 1);
    CHECK_STATUS(HANDOFF_OK, handoff_config_init(&config, sizeof config));
    config.read_environment = 1;
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_READY);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
}

int main(void) {
    make_dir();
    write_handoff("p", 0, 1);
    config = quick_config();
    accepted();
    impossible_values();
    numbers_without_a_meaning();
    retries();
    environment();
    return 0;
}
