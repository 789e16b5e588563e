// Prints what happens to the engines until Ctrl-C: c++ watch.cpp -o watch $(pkg-config --cflags --libs handoff_watcher)
#include <csignal>
#include <handoff_watcher.h>
#include <iostream>
#include <memory>
#include <stdexcept>

using Watcher = std::unique_ptr<handoff_watcher, int32_t (*)(handoff_watcher *)>;

static Watcher watch(const char *dir, handoff_on_event on_event, void *user_data) {
    handoff_config config = HANDOFF_CONFIG_INIT;
    config.runtime_dir = dir; // nullptr: .runtime/engines
    config.on_event = on_event;
    config.user_data = user_data;
    handoff_watcher *watcher = nullptr;
    if (handoff_watcher_new(&config, &watcher) != HANDOFF_OK) throw std::runtime_error(handoff_last_error());
    return {watcher, handoff_watcher_free};
}

static int32_t print(const handoff_event *event, void *out) noexcept {
    auto text = [](const char *text) { return text ? text : "-"; };
    *static_cast<std::ostream *>(out) << handoff_event_name(event) << ' ' << text(handoff_event_pool_id(event)) << ' '
                                      << text(handoff_event_replica_id(event)) << ' '
                                      << text(handoff_event_url(event)) << std::endl;
    return HANDOFF_ACCEPT; // HANDOFF_RETRY: it comes again, later
}

int main(int argc, char **argv) try {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    Watcher watcher = watch(argc > 1 ? argv[1] : nullptr, print, &std::cout);
    int signal = 0;
    sigwait(&signals, &signal); // the events come on a thread of the library; here it stops, and is freed
    return 0;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
