/* A path that is not UTF-8, and \u0000 in the JSON: both come through whole. */
#include "common.h"

static const char document[] = "{\"pool_id\":\"p\",\"replica_id\":\"r\",\"url\":\"http://h\",\"engine\":\"a\\u0000b\"}";
static const char bad_id[] = "{\"pool_id\":\"p\\u0000\",\"replica_id\":\"r\",\"url\":\"http://h\"}";

int main(void) {
    char dir[PATH_MAX + 16], path[PATH_MAX + 64], *json = NULL, *file = NULL;
    const char *engine;
    size_t length = 0;
    handoff_config config;
    handoff_watcher *watcher;
    handoff_event *event;
    handoff_payload payload;
    make_dir();
    snprintf(dir, sizeof dir, "%s/engines-\xff\xfe", temporary_dir);
    snprintf(path, sizeof path, "%s/p-r.json", dir);
    memset(&payload, 0, sizeof payload);
    payload.struct_size = sizeof payload;
    payload.pool_id = "p", payload.replica_id = "r", payload.url = "http://h";
    CHECK_STATUS(HANDOFF_OK, handoff_publish(dir, &payload, &file));
    CHECK_TEXT(path, file);
    handoff_string_free(file);

    config = quick_config();
    config.runtime_dir = dir;
    watcher = start(&config);
    event = expect(watcher, HANDOFF_EVENT_READY);
    CHECK_TEXT(path, handoff_event_file(event, &length));
    CHECK(length == strlen(path));
    CHECK_STATUS(HANDOFF_OK, handoff_event_json(event, &json));
    CHECK(strstr(json, "\"file_bytes\":[") != NULL);
    handoff_string_free(json);
    handoff_event_free(event);
    skip(watcher, HANDOFF_EVENT_SYNCED);

    /* The text goes on behind the NUL; JSON never holds one. */
    CHECK_STATUS(HANDOFF_OK, handoff_publish_json(dir, document, sizeof document - 1, NULL));
    event = expect(watcher, HANDOFF_EVENT_UPDATED);
    engine = handoff_event_engine(event, &length);
    CHECK(length == 3 && memcmp(engine, "a\0b", 4) == 0);
    CHECK_STATUS(HANDOFF_OK, handoff_event_json(event, &json));
    CHECK(strstr(json, "\"engine\":\"a\\u0000b\"") != NULL);
    handoff_string_free(json);
    handoff_event_free(event);
    CHECK_STATUS(HANDOFF_OK, handoff_registry_get(watcher, "p", "r", &json));
    CHECK(strstr(json, "a\\u0000b") != NULL);
    handoff_string_free(json);

    /* Ids cannot hold one, and the text of why not is a whole C string. */
    CHECK_STATUS(HANDOFF_ERROR_SCHEMA, handoff_publish_json(dir, bad_id, sizeof bad_id - 1, NULL));
    CHECK_TEXT("pool_id", handoff_last_error_field());
    CHECK(strstr(handoff_last_error(), "control characters") != NULL);
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
