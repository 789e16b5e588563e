/* A host that was compiled with a smaller configuration, or a larger one. */
#include <stddef.h>

#include "common.h"

/* The configuration of a version to come. */
struct newer {
    handoff_config known;
    uint64_t unknown[2];
};

int main(void) {
    handoff_config config;
    handoff_watcher *watcher = NULL;
    struct newer newer;
    handoff_stats *small;
    size_t size, known = offsetof(handoff_config, poll_interval_ms);
    make_dir();
    write_handoff("p", 0, 1);

    /* Only the directory; behind it the host has other things, which must not be read. */
    memset(&config, 0xff, sizeof config);
    config.struct_size = known;
    config.runtime_dir = temporary_dir;
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_READY);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));

    /* Under a sanitizer this shows a byte too many. */
    for (size = known; size <= sizeof config; size += sizeof(void *)) {
        handoff_config *exact = (handoff_config *)calloc(1, size);
        CHECK(exact != NULL);
        exact->struct_size = size;
        exact->runtime_dir = temporary_dir;
        watcher = start(exact);
        free(exact);
        skip(watcher, HANDOFF_EVENT_READY);
        CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    }
    watcher = NULL;
    for (size = 0; size < sizeof(size_t); size++) {
        config.struct_size = size;
        CHECK_STATUS(HANDOFF_ERROR_INVALID_ARGUMENT, handoff_watcher_new(&config, &watcher));
    }

    /* A newer one whose new fields say nothing is taken; one that uses them is not. */
    memset(&newer, 0, sizeof newer);
    newer.known = quick_config();
    newer.known.struct_size = sizeof newer;
    watcher = start(&newer.known);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    newer.unknown[1] = 1;
    CHECK_STATUS(HANDOFF_ERROR_INVALID_ARGUMENT, handoff_watcher_new(&newer.known, &watcher));
    CHECK(strstr(handoff_last_error(), "settings that version") != NULL);
    CHECK_STATUS(HANDOFF_OK, handoff_config_init(&newer.known, sizeof newer));
    CHECK(newer.unknown[1] == 0 && newer.known.struct_size == sizeof newer && newer.known.runtime_dir == NULL);

    /* The same for what is written: no byte more than the host has, zeros where the library has less. */
    config = quick_config();
    watcher = start(&config);
    skip(watcher, HANDOFF_EVENT_READY);
    small = (handoff_stats *)malloc(offsetof(handoff_stats, reads));
    CHECK(small != NULL);
    small->struct_size = offsetof(handoff_stats, reads);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_stats(watcher, small));
    CHECK(small->scans > 0 && small->struct_size == offsetof(handoff_stats, reads));
    free(small);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
