/* What a host can switch on: whom to believe, whether processes run, instant mode, and files as messages. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common.h"

static void expect_invalid(handoff_watcher *watcher, int32_t status) {
    handoff_event *event = expect(watcher, HANDOFF_EVENT_INVALID);
    CHECK_STATUS(status, handoff_event_error_status(event));
    handoff_event_free(event);
}

int main(void) {
    handoff_config config;
    handoff_watcher *watcher;
    handoff_event *event = NULL;
    handoff_health health;
    uint32_t uids[] = {1, 2};
    char path[PATH_MAX + 32], text[200];
    pid_t child;
    make_dir();
    snprintf(path, sizeof path, "%s/leftover.json", temporary_dir);

    /* Anybody may write it: it is not believed, and says so. */
    write_file("leftover.json", "{\"pool_id\":\"p\",\"replica_id\":\"r0\",\"url\":\"http://h\"}");
    CHECK(chmod(path, 0666) == 0);
    config = quick_config();
    config.trust = 1;
    config.trusted_uids = uids;
    config.trusted_uid_count = 2;
    watcher = start(&config);
    expect_invalid(watcher, HANDOFF_ERROR_UNTRUSTED);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));

    /* Its process is no more. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(0);
    }
    CHECK(waitpid(child, NULL, 0) == child);
    snprintf(text, sizeof text, "{\"pool_id\":\"p\",\"replica_id\":\"r0\",\"url\":\"http://h\",\"pid\":%ld}", (long)child);
    write_file("leftover.json", text);
    config = quick_config();
    config.check_processes = 1;
    watcher = start(&config);
    expect_invalid(watcher, HANDOFF_ERROR_STALE);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    CHECK(unlink(path) == 0);

    /* The interval is an hour: only a notification can be why it is told. */
    config = quick_config();
    config.instant = 1;
    config.poll_interval_ms = 3600 * 1000;
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_SYNCED);
    health.struct_size = sizeof health;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_health(watcher, &health));
    CHECK(health.ok == 1 && health.instant == 1 && health.reserved == 0);
    write_handoff("p", 1, 1);
    event = expect(watcher, HANDOFF_EVENT_READY);
    handoff_event_free(event);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));

    /* Files are messages, and go when they are taken. */
    write_handoff("p", 2, 1);
    snprintf(path, sizeof path, "%s/p-r2.json", temporary_dir);
    CHECK(access(path, F_OK) == 0);
    config = quick_config();
    config.consume = 1;
    config.mode = HANDOFF_MODE_ANNOUNCEMENTS;
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_READY); /* that of before */
    skip(watcher, HANDOFF_EVENT_READY);
    skip(watcher, HANDOFF_EVENT_SYNCED);
    EVENTUALLY(access(path, F_OK) != 0 && errno == ENOENT);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
