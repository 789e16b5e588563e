/* Signals are the host's: the library's threads block them all, and the mask of the host's thread stays as it was. */
#include <dirent.h>
#include <signal.h>

#include "common.h"

static int calls;
static pthread_t handled_on;
static volatile sig_atomic_t handled;

static void on_signal(int signal) {
    (void)signal;
    handled_on = pthread_self();
    handled += 1;
}

static int32_t on_event(const handoff_event *event, void *user_data) {
    sigset_t mask;
    int signal;
    (void)event, (void)user_data;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    for (signal = 1; signal < NSIG; signal++) {
        /* No one can block these two; the C library keeps the first two real-time signals for itself. */
        if (signal != SIGKILL && signal != SIGSTOP && (signal < 32 || signal >= SIGRTMIN)) {
            CHECK(sigismember(&mask, signal) == 1);
        }
    }
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    return HANDOFF_ACCEPT;
}

/* The scanning thread has no callback: the kernel says what it blocks. */
static void check_all_other_threads_block(int signal) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    int library_threads = 0;
    CHECK(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        char path[300], line[256], name[64] = "";
        unsigned long long blocked = 0;
        FILE *status;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        status = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (status == NULL) {
            continue;
        }
        while (fgets(line, sizeof line, status) != NULL) {
            sscanf(line, "Name: %63s", name);
            sscanf(line, "SigBlk: %llx", &blocked);
        }
        fclose(status);
        if (strncmp(name, "sig-test", 8) == 0) {
            library_threads += 1;
            CHECK(blocked >> (signal - 1) & 1);
        }
    }
    closedir(tasks);
    CHECK(library_threads == 2);
}

int main(void) {
    sigset_t before, after, mine;
    struct sigaction action;
    handoff_config config;
    handoff_watcher *watcher;
    int i;
    make_dir();
    write_handoff("p", 0, 1);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    CHECK(pthread_sigmask(SIG_SETMASK, &mine, NULL) == 0);

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    config = quick_config();
    config.thread_name = "sig-test";
    config.on_event = on_event;
    watcher = start(&config);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (i = 1; i < NSIG; i++) {
        CHECK(sigismember(&before, i) == sigismember(&after, i));
    }
    EVENTUALLY(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) >= 2);
    check_all_other_threads_block(SIGUSR1);
    check_all_other_threads_block(SIGTERM);
    for (i = 1; i <= 100; i++) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        EVENTUALLY(handled == i);
        CHECK(pthread_equal(handled_on, pthread_self()));
    }
    CHECK_STATUS(HANDOFF_OK, handoff_watcher_free(watcher));
    return 0;
}
