// c++ -std=c++17 watch.cpp -o watch $(pkg-config --cflags --libs handoff_watcher)
#include <handoff_watcher.h>
#include <iostream>
#include <memory>

using Watcher = std::unique_ptr<handoff_watcher, int32_t (*)(handoff_watcher *)>; // stops, joins and frees

static int32_t print(const handoff_event *event, void *) noexcept { // on a thread of the library
    const char *pool = handoff_event_pool_id(event), *url = handoff_event_url(event);
    std::cout << handoff_event_name(event) << ' ' << (pool ? pool : "-") << ' ' << (url ? url : "-") << std::endl;
    return HANDOFF_ACCEPT; // HANDOFF_RETRY: it comes again, later
}

int main(int argc, char **argv) {
    handoff_config config = HANDOFF_CONFIG_INIT;
    config.runtime_dir = argc > 1 ? argv[1] : nullptr; // nullptr: .runtime/engines
    config.on_event = print;
    handoff_watcher *started = nullptr;
    if (handoff_watcher_new(&config, &started) != HANDOFF_OK) return std::cerr << handoff_last_error() << '\n', 1;
    Watcher watcher(started, handoff_watcher_free);
    handoff_watcher_join(watcher.get(), -1); // here the host does its own work
}
