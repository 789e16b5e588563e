// The header in C++17: RAII in a few lines, a lambda as the callback, the same story.
#include <atomic>
#include <memory>
#include <string>

#include "common.h"

struct Free {
    void operator()(handoff_watcher *watcher) const { handoff_watcher_free(watcher); }
    void operator()(handoff_event *event) const { handoff_event_free(event); }
};
using Watcher = std::unique_ptr<handoff_watcher, Free>;
using Event = std::unique_ptr<handoff_event, Free>;

static Watcher watch(const handoff_config &config) {
    handoff_watcher *watcher = nullptr;
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_new(&config, &watcher));
    return Watcher(watcher);
}

int main() {
    make_dir();
    write_handoff("p", 0, 4);
    handoff_config config = quick_config();
    {
        Watcher watcher = watch(config);
        Event event(expect(watcher.get(), HANDOFF_EVENT_READY));
        CHECK(std::string("p") == handoff_event_pool_id(event.get()));
        // An event may outlive its watcher.
        watcher.reset();
        CHECK(handoff_event_slots(event.get()) == 4);
    }
    std::atomic<int> calls{0};
    config.user_data = &calls;
    config.on_event = [](const handoff_event *, void *user_data) noexcept -> int32_t {
        ++*static_cast<std::atomic<int> *>(user_data);
        return HANDOFF_ACCEPT;
    };
    {
        Watcher watcher = watch(config);
        EVENTUALLY(calls == 2);
    }
    CHECK(calls == 2);
    return 0;
}
