/* cc watch.c -o watch $(pkg-config --cflags --libs handoff_watcher) */
#include <handoff_watcher.h>
#include <stdio.h>

int main(int argc, char **argv) {
    handoff_config config = HANDOFF_CONFIG_INIT;
    handoff_watcher *watcher;
    handoff_event *event;
    config.runtime_dir = argc > 1 ? argv[1] : NULL; /* NULL: .runtime/engines */
    if (handoff_watcher_new(&config, &watcher) != HANDOFF_OK) return fprintf(stderr, "%s\n", handoff_last_error()), 1;
    while (handoff_watcher_next(watcher, -1, &event) == HANDOFF_OK) {
        const char *pool = handoff_event_pool_id(event), *url = handoff_event_url(event);
        printf("%s %s %s\n", handoff_event_name(event), pool ? pool : "-", url ? url : "-");
        fflush(stdout);
        handoff_event_free(event);
    }
    return handoff_watcher_free(watcher);
}
