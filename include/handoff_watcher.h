/*
 * handoff-watcher: tells its host which engines are ready, by watching a directory of handoff files.
 *
 * This header is the manual of the C ABI. It is generated from src/ffi; do not edit it.
 *
 * In short: fill a handoff_config, make a watcher of it, and take its events by a callback or by handoff_watcher_next().
 * Everything that is said of one watcher may be asked of any number of them. Where nothing else is said:
 *
 * - Functions return a status: HANDOFF_OK, a positive outcome, or a negative error, whose text is handoff_last_error().
 *   What they write to, they write to on HANDOFF_OK only.
 * - Every function may be called from any thread. NULL is refused with HANDOFF_ERROR_INVALID_ARGUMENT.
 * - Pointers to what the host passes in are used during the call only.
 * - After fork(), the child may not use the parent's watchers: each call returns HANDOFF_ERROR_FORKED at once. It may
 *   make watchers of its own.
 * - No function lets a panic of the library, or an error of it, end the process.
 *
 * Compiles as C99, C11 and C++17.
 */
#ifndef HANDOFF_WATCHER_H
#define HANDOFF_WATCHER_H


#include <stddef.h>
#include <stdint.h>

/**
 * The major version of this header. It changes when hosts have to be changed.
 */
#define HANDOFF_VERSION_MAJOR 0

/**
 * The minor version of this header. It changes when something is added.
 */
#define HANDOFF_VERSION_MINOR 1

/**
 * The patch version of this header.
 */
#define HANDOFF_VERSION_PATCH 0

/**
 * Done. Statuses are int32_t: 0 is this, positive ones are outcomes that a host expects, negative ones are errors, of
 * which handoff_last_error() has the text. A host treats a negative status that it does not know like
 * HANDOFF_ERROR_INTERNAL, and a positive one like HANDOFF_NOT_FOUND.
 */
#define HANDOFF_OK 0

/**
 * The time was over before it happened.
 */
#define HANDOFF_TIMEOUT 1

/**
 * The watcher has been stopped, by this host or by a defect (see handoff_watcher_health): nothing will come any more.
 */
#define HANDOFF_STOPPED 2

/**
 * There is none: no such replica is ready, or no such handoff is there.
 */
#define HANDOFF_NOT_FOUND 3

/**
 * A setting or an environment variable has an impossible value, whatever is wrong with it; the text names it.
 */
#define HANDOFF_ERROR_CONFIG -1

/**
 * The operating system refused.
 */
#define HANDOFF_ERROR_IO -2

/**
 * The content is not one JSON document in UTF-8.
 */
#define HANDOFF_ERROR_SYNTAX -3

/**
 * The content is JSON, but not a handoff: a field is missing, doubled or impossible.
 */
#define HANDOFF_ERROR_SCHEMA -4

/**
 * The file is larger than the largest accepted one. Only in events.
 */
#define HANDOFF_ERROR_TOO_LARGE -5

/**
 * The name does not lead to a regular file. Only in events.
 */
#define HANDOFF_ERROR_FILE_TYPE -6

/**
 * A thread could not be started.
 */
#define HANDOFF_ERROR_SPAWN -7

/**
 * A defect of this library, which caught itself; please report it with the text.
 */
#define HANDOFF_ERROR_INTERNAL -9

/**
 * An argument that cannot be: NULL where that is not allowed, text that is not UTF-8, an impossible struct_size.
 */
#define HANDOFF_ERROR_INVALID_ARGUMENT -10

/**
 * The watcher belongs to another process, of which this one is a fork. Nothing was touched.
 */
#define HANDOFF_ERROR_FORKED -11

/**
 * From inside a callback: a call that would wait for this very callback. Nothing was done.
 */
#define HANDOFF_ERROR_BUSY -12

/**
 * The file, or the watched directory, is not to be believed: it belongs to somebody else, or others may write it.
 */
#define HANDOFF_ERROR_UNTRUSTED -20

/**
 * The handoff is a leftover: the process that it names is not its engine any more.
 */
#define HANDOFF_ERROR_STALE -21

/**
 * What handoff_on_event returns when the event has been taken.
 */
#define HANDOFF_ACCEPT 0

/**
 * What handoff_on_event returns when the event is to come again: after 100 ms, 200 ms, ... up to 30 s, with what is true
 * then. Any other number means the same.
 */
#define HANDOFF_RETRY 1

/**
 * A log line about something that does not work.
 */
#define HANDOFF_LOG_ERROR 1

/**
 * A log line about something that the people who run this should know.
 */
#define HANDOFF_LOG_WARN 2

/**
 * A log line about something that happens seldom. The default of log_level.
 */
#define HANDOFF_LOG_INFO 3

/**
 * A log line for each event.
 */
#define HANDOFF_LOG_DEBUG 4

/**
 * What mode can be: the directory is the state, and what no file says is not so. The default.
 */
#define HANDOFF_MODE_STATE 0

/**
 * What mode can be: each version of a file is a message, which stands until another one of the same replica takes its
 * place, whatever becomes of the file. One with "ready": false ends it, and so does the end of its process where
 * check_processes is set. For producers that overwrite one fixed file for every engine, or that expect the consumer to
 * delete what it took; anywhere else only HANDOFF_MODE_STATE lets a host that was restarted know what runs.
 */
#define HANDOFF_MODE_ANNOUNCEMENTS 1

/**
 * A replica that the host does not know, or was told is gone, is ready.
 */
#define HANDOFF_EVENT_READY 1

/**
 * A replica that the host holds as ready is ready with another payload, or by another file.
 */
#define HANDOFF_EVENT_UPDATED 2

/**
 * A replica that the host holds as ready no longer is.
 */
#define HANDOFF_EVENT_REMOVED 3

/**
 * A file cannot be taken as a handoff; the last good version stays in force.
 */
#define HANDOFF_EVENT_INVALID 4

/**
 * More than one file claims a replica.
 */
#define HANDOFF_EVENT_CONFLICT 5

/**
 * Everything that was there at the start has been taken, also what changed since. Once. A file that never comes to rest is
 * waited for until 2 s beyond the settle time.
 */
#define HANDOFF_EVENT_SYNCED 6

/**
 * The directory cannot be listed; everything known stays in force.
 */
#define HANDOFF_EVENT_UNAVAILABLE 7

/**
 * The directory can be listed again.
 */
#define HANDOFF_EVENT_AVAILABLE 8

/**
 * The handoff file is gone.
 */
#define HANDOFF_REASON_FILE_REMOVED 1

/**
 * The handoff file says "ready": false.
 */
#define HANDOFF_REASON_NOT_READY 2

/**
 * The handoff file now speaks of another replica.
 */
#define HANDOFF_REASON_MOVED 3

/**
 * The process that the handoff names has ended. The file is told of as invalid besides.
 */
#define HANDOFF_REASON_PROCESS_EXITED 4

/**
 * How many buckets the latency histogram has.
 */
#define HANDOFF_LATENCY_BUCKETS 12

/**
 * Something that the host is told. It does not change: any number of threads may read it at once.
 *
 * All functions that read one take NULL, and answer as if the event did not have what is asked for. The strings that they
 * return end with a NUL and live as long as the event. None of them sets the last error. A host meets a kind of event
 * that it does not know by ignoring it.
 */
typedef struct handoff_event handoff_event;

/**
 * A watcher. Made by handoff_watcher_new(), freed by handoff_watcher_free().
 */
typedef struct handoff_watcher handoff_watcher;

/**
 * Takes an event, and returns HANDOFF_ACCEPT or HANDOFF_RETRY.
 *
 * event: never NULL, borrowed for the call; to keep it, see handoff_event_clone().
 * user_data: that of the configuration.
 * Called on a thread of the library, which blocks all signals, with no lock held and never two at once. It may take as
 * long as it likes: changes that come meanwhile collapse into one event per replica. No C++ exception and no longjmp may
 * leave it. handoff_watcher_free() and _join() of this very watcher are refused in it, with HANDOFF_ERROR_BUSY; everything
 * else may be called.
 */
typedef int32_t (*handoff_on_event)(const struct handoff_event *event, void *user_data);

/**
 * Takes a log line of this watcher.
 *
 * level: HANDOFF_LOG_ERROR to HANDOFF_LOG_DEBUG.
 * text: one line in UTF-8 without a line feed, never NULL, borrowed for the call.
 * user_data: that of the configuration.
 * Called on a thread of the library or on one that is in handoff_watcher_next(), possibly on two at once, with no lock
 * held. It should be quick. No C++ exception and no longjmp may leave it. In it, whatever waits for this very watcher is
 * refused with HANDOFF_ERROR_BUSY: free, join, next, rescan, wait_ready, wait_replica_ready.
 */
typedef void (*handoff_on_log)(int32_t level, const char *text, void *user_data);

/**
 * Is called once for each watcher that was made, from inside handoff_watcher_free() and on its thread, when no other
 * callback is under way or will ever come: the time to free user_data. It must not use the watcher any more. No C++
 * exception and no longjmp may leave it. Where handoff_watcher_new() fails it is not called: user_data then never left
 * the host's hands. Nor is it called in a forked process.
 */
typedef void (*handoff_on_destroy)(void *user_data);

/**
 * How a watcher is to be. Begin with HANDOFF_CONFIG_INIT, or handoff_config_init(), and set what is to differ: 0 and NULL
 * mean the default. Nothing is clamped: a setting that cannot be is refused with HANDOFF_ERROR_CONFIG, and
 * handoff_last_error_field() has the name of its field here, or that of the environment variable.
 *
 * A later version only appends fields. A host that was compiled with an older header gets their defaults; one that was
 * compiled with a newer header is refused, with HANDOFF_ERROR_INVALID_ARGUMENT, if it sets what this library lacks.
 *
 * Strings are copied: they may go when handoff_watcher_new() has returned.
 */
typedef struct handoff_config {
    /**
     * sizeof(handoff_config), as the host was compiled.
     */
    size_t struct_size;
    /**
     * The directory whose *.json files are watched: a path as the system has it, not necessarily UTF-8. It need not
     * exist: it is waited for. Default: ".runtime/engines", relative to the working directory at each poll.
     */
    const char *runtime_dir;
    /**
     * From the start of one poll to that of the next. Default: 1000. Range: 1 to 86400000.
     */
    uint64_t poll_interval_ms;
    /**
     * How many events are prepared ahead of the host; what does not fit loses nothing. Default: 1024. Range: 1 to 65536.
     */
    uint64_t channel_capacity;
    /**
     * The largest accepted file, in bytes; a larger one is "invalid". Default: 1048576. Range: 1 to 1073741824.
     */
    uint64_t max_file_size;
    /**
     * How long unusable content must have stayed the same before it is called "invalid": until then it may be
     * half-written. Default: 1000. Range: 1 to 3600000; 1 means practically at once.
     */
    uint64_t settle_time_ms;
    /**
     * How long to wait before the first retry of an event; it doubles with each. Default: 100. Range: 1 to 86400000.
     */
    uint64_t retry_first_ms;
    /**
     * The longest time between two retries. Default: 30000. Range: retry_first_ms to 86400000.
     */
    uint64_t retry_most_ms;
    /**
     * The name of the scanning thread, in UTF-8; that of the callback thread has "-cb" behind it. Default:
     * "handoff-watcher". Linux shows the first 15 bytes.
     */
    const char *thread_name;
    /**
     * 1: a handoff that is a symbolic link is "invalid". 0: links are followed. The directory may always be one.
     */
    int32_t no_follow_symlinks;
    /**
     * 1: where runtime_dir is NULL, the environment variable POOL_MANAGERD_RUNTIME_DIR says what it is, and where
     * poll_interval_ms is 0, POOL_MANAGERD_WATCH_INTERVAL_MS does. Each is read only then; the default applies where it is
     * unset or empty.
     */
    int32_t read_environment;
    /**
     * The least important level that on_log is called for, HANDOFF_LOG_ERROR to HANDOFF_LOG_DEBUG. Default:
     * HANDOFF_LOG_INFO.
     */
    int32_t log_level;
    /**
     * 1: a notification of the kernel (inotify, Linux) lets the next scan begin at once, and a handoff is told within a
     * fraction of a millisecond. Polling stays the truth: what notifications miss comes with the next poll.
     * handoff_watcher_health() says whether it is in force.
     */
    int32_t instant;
    /**
     * Is called with each event. NULL: the host asks, by handoff_watcher_next().
     */
    handoff_on_event on_event;
    /**
     * Is called with each log line of this watcher. NULL: there are none.
     */
    handoff_on_log on_log;
    /**
     * Is called once, after the last callback. NULL: nothing is.
     */
    handoff_on_destroy on_destroy;
    /**
     * What the callbacks are given. It must be fit for use on other threads.
     */
    void *user_data;
    /**
     * 1: only handoffs are believed that belong to root, to the effective user of this process, or to one of
     * trusted_uids, that nobody else may write (mode & 022 == 0), in a directory for which the same holds. The opened file
     * and the opened directory are checked. A file that breaks a rule is "invalid", a directory "unavailable".
     */
    int32_t trust;
    /**
     * 1: a handoff with a "pid" is "invalid" if that process does not run, started after the handoff was written, or ran
     * before this machine started; a replica whose process ends is "removed". Linux only, and only where the watcher
     * shares the pid namespace of the engines.
     */
    int32_t check_processes;
    /**
     * More users that may own handoffs, with trust. NULL: none. Copied.
     */
    const uint32_t *trusted_uids;
    /**
     * How many trusted_uids there are.
     */
    uint64_t trusted_uid_count;
    /**
     * What a handoff file stands for: HANDOFF_MODE_STATE or HANDOFF_MODE_ANNOUNCEMENTS.
     */
    int32_t mode;
    /**
     * 1, only with HANDOFF_MODE_ANNOUNCEMENTS: a file is deleted when the host has taken what it says (on_event returned
     * HANDOFF_ACCEPT, or handoff_watcher_next() handed it over), if it is still the version that was taken; a newer one
     * survives, and is told. After a crash of the host a message may come again. Symbolic links stay. Needs the right to
     * write to the directory; only one host may consume it.
     */
    int32_t consume;
} handoff_config;

/**
 * A snapshot of a watcher's figures. Set struct_size to sizeof(handoff_stats) before asking for it. A later version only
 * appends; what the library does not know stays 0. Times are in microseconds.
 */
typedef struct handoff_stats {
    /**
     * sizeof(handoff_stats), as the host was compiled.
     */
    size_t struct_size;
    /**
     * Complete listings since the start.
     */
    uint64_t scans;
    /**
     * Listings that failed or broke off since the start.
     */
    uint64_t scan_errors;
    /**
     * Files read since the start.
     */
    uint64_t reads;
    /**
     * Since the last try to list the directory ended; -1 before the first.
     */
    int64_t scan_age_us;
    /**
     * How long the last complete listing took, its reads included; -1 before the first.
     */
    int64_t scan_duration_us;
    /**
     * 1: the directory could be listed the last time.
     */
    uint64_t available;
    /**
     * Handoff files known.
     */
    uint64_t files;
    /**
     * Replicas that are ready.
     */
    uint64_t replicas;
    /**
     * Files that are reported, or about to be reported, as invalid.
     */
    uint64_t invalid_files;
    /**
     * Files that are not decided yet.
     */
    uint64_t pending_files;
    /**
     * Events that the host has not taken yet, retries included.
     */
    uint64_t backlog;
    /**
     * Deliveries that the host refused, since the start.
     */
    uint64_t retries;
    /**
     * Events of each kind that the host took: of HANDOFF_EVENT_READY ...
     */
    uint64_t events_ready;
    /**
     * ... of HANDOFF_EVENT_UPDATED
     */
    uint64_t events_updated;
    /**
     * ... of HANDOFF_EVENT_REMOVED
     */
    uint64_t events_removed;
    /**
     * ... of HANDOFF_EVENT_INVALID
     */
    uint64_t events_invalid;
    /**
     * ... of HANDOFF_EVENT_CONFLICT
     */
    uint64_t events_conflict;
    /**
     * ... of HANDOFF_EVENT_SYNCED
     */
    uint64_t events_synced;
    /**
     * ... of HANDOFF_EVENT_UNAVAILABLE
     */
    uint64_t events_unavailable;
    /**
     * ... of HANDOFF_EVENT_AVAILABLE
     */
    uint64_t events_available;
    /**
     * Deliveries whose time from the file's last change was measured.
     */
    uint64_t latency_count;
    /**
     * Those that took longer than the objective of 2 s.
     */
    uint64_t latency_over_objective;
    /**
     * The sum of all, for a mean.
     */
    int64_t latency_sum_us;
    /**
     * The last one; -1 before the first.
     */
    int64_t latency_last_us;
    /**
     * The longest.
     */
    int64_t latency_max_us;
    /**
     * How many took at most 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10000 ms, and longer than the bound before.
     */
    uint64_t latency_buckets[HANDOFF_LATENCY_BUCKETS];
} handoff_stats;

/**
 * Whether a watcher does its work. Set struct_size to sizeof(handoff_health) before asking for it.
 */
typedef struct handoff_health {
    /**
     * sizeof(handoff_health), as the host was compiled.
     */
    size_t struct_size;
    /**
     * 1: all is well: running, available, not stalled.
     */
    int32_t ok;
    /**
     * 1: the scanning thread is alive. 0 after a stop, and after a defect of this library.
     */
    int32_t running;
    /**
     * 1: the directory could be listed the last time. 0 before the first time.
     */
    int32_t available;
    /**
     * 1: the last try to list the directory ended more than three intervals and two seconds ago.
     */
    int32_t stalled;
    /**
     * 1: instant mode was asked for, and is in force. 0: polling alone.
     */
    int32_t instant;
    /**
     * 0.
     */
    int32_t reserved;
} handoff_health;

/**
 * A handoff in fields. All strings are UTF-8 that ends with a NUL, and are only read during the call. What has no field
 * here can be published as JSON. Set all to zero, then struct_size to sizeof(handoff_payload), then what there is.
 */
typedef struct handoff_payload {
    /**
     * sizeof(handoff_payload), as the host was compiled.
     */
    size_t struct_size;
    /**
     * The pool. Required.
     */
    const char *pool_id;
    /**
     * The replica, unique within its pool. Required.
     */
    const char *replica_id;
    /**
     * Where the engine answers: an http or https URL. Required.
     */
    const char *url;
    /**
     * The engine, such as "llamacpp"; NULL for absent, as in all that follows.
     */
    const char *engine;
    /**
     * The engine's version.
     */
    const char *engine_version;
    /**
     * How the engine was provisioned.
     */
    const char *provisioning_mode;
    /**
     * The devices that the engine runs on.
     */
    const char *device_mask;
    /**
     * Where the model came from.
     */
    const char *model_id;
    /**
     * Where the model lies on this machine.
     */
    const char *model_path;
    /**
     * How many requests the engine serves at once.
     */
    const uint32_t *slots;
    /**
     * How many slots are free.
     */
    const uint32_t *slots_free;
    /**
     * The flags that the engine was started with: as many strings as flag_count says.
     */
    const char *const *flags;
    /**
     * How many flags there are.
     */
    size_t flag_count;
    /**
     * The engine's process; 0 for absent.
     */
    uint32_t pid;
    /**
     * 1: the handoff says "ready": false, which withdraws the replica. 0: it does not.
     */
    int32_t not_ready;
} handoff_payload;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, such as "0.1.0"; that of the header is in HANDOFF_VERSION_MAJOR and so on.
 *
 * Returns a static string, never NULL.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_version(void);

/**
 * The name of a status, such as "ok", "timeout" or "invalid_argument", for logs.
 *
 * Returns a static string, never NULL: "unknown" for a number that is no status.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_status_name(int32_t status);

/**
 * What the last call on this thread that returned a negative status failed with: one line, for people. A call that does
 * not fail leaves it as it is.
 *
 * Returns a string of the library, never NULL: "" before the first failure. It is valid until the next call on this
 * thread that fails, or the end of the thread.
 * Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_last_error(void);

/**
 * The field of the handoff, the setting, the argument or the environment variable that the last error is about.
 *
 * Returns a string of the library, or NULL when it is about none. Valid as that of handoff_last_error().
 * Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_last_error_field(void);

/**
 * The file or directory that the last error is about: a path as the system has it, not necessarily UTF-8.
 *
 * Returns a string of the library, or NULL when it is about none. Valid as that of handoff_last_error().
 * Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_last_error_path(void);

/**
 * The line in the document that the last error is about, counted from 1; -1 when it is about none.
 *
 * Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_last_error_line(void);

/**
 * The column in that line, counted from 1 in bytes; -1 when the last error is about no document.
 *
 * Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_last_error_column(void);

/**
 * Sets a configuration to the defaults, for hosts that cannot use HANDOFF_CONFIG_INIT.
 *
 * config: not NULL; what it holds is overwritten.
 * struct_size: sizeof(handoff_config), as the host was compiled. Where that is larger than the library's, the rest
 * becomes 0.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_config_init(struct handoff_config *config, size_t struct_size);

/**
 * What kind of event it is: HANDOFF_EVENT_READY and so on; 0 for NULL.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_event_kind(const struct handoff_event *event);

/**
 * The name of its kind, as in the JSON: "ready", "updated", "removed", "invalid", "conflict", "synced", "unavailable",
 * "available"; "" for NULL.
 *
 * Returns a static string, never NULL.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_name(const struct handoff_event *event);

/**
 * The file that it is about: the handoff, the one that is invalid, or the one in force in a conflict. A path as the
 * system has it, not necessarily UTF-8.
 *
 * length: set to the length in bytes, 0 where there is no file; NULL is allowed.
 * Returns a string of the event, or NULL where it is about the whole directory.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_file(const struct handoff_event *event, size_t *length);

/**
 * The pool that it is about, in UTF-8.
 *
 * Returns a string of the event, or NULL where it is about no replica.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_pool_id(const struct handoff_event *event);

/**
 * The replica, within its pool, that it is about, in UTF-8.
 *
 * Returns a string of the event, or NULL where it is about no replica.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_replica_id(const struct handoff_event *event);

/**
 * Where the engine answers: an http or https URL. Of ready and updated the new one, of removed the last one.
 *
 * Returns a string of the event, or NULL where there is no payload.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_url(const struct handoff_event *event);

/**
 * The engine, such as "llamacpp", in UTF-8.
 *
 * length: set to the length in bytes, 0 where there is none; NULL is allowed. A handoff may hold \u0000, behind which the
 * string goes on.
 * Returns a string of the event, or NULL where the payload does not say, or there is none.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_engine(const struct handoff_event *event,
                                 size_t *length);

/**
 * How many requests the engine serves at once; -1 where the payload does not say, or there is none.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_slots(const struct handoff_event *event);

/**
 * How many slots were free when the handoff was written; -1 where the payload does not say, or there is none.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_slots_free(const struct handoff_event *event);

/**
 * The engine's process, never 0; -1 where the payload does not say, or there is none.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_pid(const struct handoff_event *event);

/**
 * From the file's last change to this delivery, in microseconds; -1 for what was there at the start, and for all but ready
 * and updated.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_latency_us(const struct handoff_event *event);

/**
 * Why it was removed: HANDOFF_REASON_FILE_REMOVED and so on; 0 for other events.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_event_reason(const struct handoff_event *event);

/**
 * The name of the reason, as in the JSON: "file_removed", "not_ready", "moved".
 *
 * Returns a static string, or NULL for events other than removed.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_reason_name(const struct handoff_event *event);

/**
 * What is wrong, of invalid and unavailable: one line, with file, place and what was expected.
 *
 * Returns a string of the event, or NULL for other events.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_error(const struct handoff_event *event);

/**
 * What kind of error that is, as a status, such as HANDOFF_ERROR_SCHEMA; HANDOFF_OK where there is none.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_event_error_status(const struct handoff_event *event);

/**
 * The field of the handoff that the error is about, such as "model.path".
 *
 * Returns a string of the event, or NULL where it is about none.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_error_field(const struct handoff_event *event);

/**
 * The line of the file that the error is about, counted from 1; -1 where it is about none.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_error_line(const struct handoff_event *event);

/**
 * The column of that line, counted from 1 in bytes; -1 where the error is about no line.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int64_t handoff_event_error_column(const struct handoff_event *event);

/**
 * How many files claim the replica of a conflict in vain; 0 for other events.
 *
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
size_t handoff_event_loser_count(const struct handoff_event *event);

/**
 * One of the files that claim the replica of a conflict in vain: a path as the system has it, not necessarily UTF-8.
 *
 * index: from 0, less than handoff_event_loser_count().
 * length: set to the length in bytes, 0 where there is no such file; NULL is allowed.
 * Returns a string of the event, or NULL where there is no such file.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
const char *handoff_event_loser(const struct handoff_event *event, size_t index, size_t *length);

/**
 * The whole event as one flat JSON object, in the form in which the command line prints it.
 *
 * event: not NULL.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_event_json(const struct handoff_event *event, char **json);

/**
 * Copies an event, to keep what was only borrowed.
 *
 * event: not NULL.
 * copy: not NULL; on HANDOFF_OK set to an event that is the host's, to be freed by handoff_event_free(). It may outlive
 * its watcher.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_event_clone(const struct handoff_event *event, struct handoff_event **copy);

/**
 * Frees an event that is the host's: from handoff_watcher_next() or handoff_event_clone(). Never one that a callback was
 * given.
 *
 * event: NULL is allowed, and nothing. It may be freed after its watcher.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
void handoff_event_free(struct handoff_event *event);

/**
 * Makes a watcher, and starts it. It delivers by on_event if the configuration has one, else by handoff_watcher_next().
 *
 * config: NULL means all defaults. It, and its strings, are only read during the call.
 * watcher: not NULL; on HANDOFF_OK set to a watcher that is the host's, to be freed by handoff_watcher_free(). It is set
 * before the first callback.
 * Returns HANDOFF_OK, HANDOFF_ERROR_INVALID_ARGUMENT, HANDOFF_ERROR_CONFIG for a setting that cannot be, or
 * HANDOFF_ERROR_SPAWN. A directory that is missing is no error: it is waited for. Where it fails, no callback was called
 * and none will be, on_destroy included.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_new(const struct handoff_config *config,
                            struct handoff_watcher **watcher);

/**
 * The next event, for a watcher without on_event. With it the event counts as taken. What the host does not take piles up
 * nowhere: it collapses into one event per replica.
 *
 * watcher: not NULL.
 * timeout_ms: how long to wait; 0 does not wait, a negative number waits forever.
 * event: not NULL; on HANDOFF_OK set to an event that is the host's, to be freed by handoff_event_free().
 * Returns HANDOFF_OK, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT (also for a watcher that has an
 * on_event), _FORKED, _BUSY.
 * Thread: any, any number at once; each event goes to one of them. In callbacks: not in on_log of this watcher.
 * Since 0.1.0.
 */
int32_t handoff_watcher_next(struct handoff_watcher *watcher,
                             int64_t timeout_ms,
                             struct handoff_event **event);

/**
 * A file descriptor that is readable exactly while an event waits, and for good once the watcher has stopped: for select,
 * poll, epoll, libuv, glib or asyncio. When it is readable, call handoff_watcher_next() with timeout 0 until it returns
 * something other than HANDOFF_OK. Never read from it, write to it or close it.
 *
 * watcher: not NULL, without on_event.
 * Returns the descriptor (0 or more; close-on-exec; the same one each time), which is valid until handoff_watcher_free(),
 * or HANDOFF_ERROR_INVALID_ARGUMENT, _IO when no descriptor can be had, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_fd(struct handoff_watcher *watcher);

/**
 * Lists the directory now, reads what changed, and returns when that is done and the registry is up to date. What needs
 * time to be decided (half-written, gone missing) may still be undecided.
 *
 * watcher: not NULL.
 * Returns HANDOFF_OK, HANDOFF_STOPPED, or HANDOFF_ERROR_IO when the directory cannot be listed, _INVALID_ARGUMENT, _FORKED,
 * _BUSY.
 * Thread: any. In callbacks: not in on_log of this watcher. Since 0.1.0.
 */
int32_t handoff_watcher_rescan(struct handoff_watcher *watcher);

/**
 * Asks the watcher to stop, and never waits: no further on_event starts, whoever waits in handoff_watcher_next() gets
 * HANDOFF_STOPPED, and the threads end as soon as what they are in returns. Asked again, it does nothing.
 *
 * From inside on_event this is exact: that call is the last one. From another thread, an on_event whose call the library
 * has begun at that very moment may still be seen to enter; after handoff_watcher_join() none is under way.
 *
 * watcher: not NULL. It still has to be freed.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any; not in a signal handler. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_stop(struct handoff_watcher *watcher);

/**
 * Waits until the watcher has ended after a stop: no callback is under way, and none will come, on_destroy excepted.
 *
 * watcher: not NULL.
 * timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
 * Returns HANDOFF_OK, HANDOFF_TIMEOUT, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
 * Thread: any, any number at once. In callbacks: not in those of this watcher. Since 0.1.0.
 */
int32_t handoff_watcher_join(struct handoff_watcher *watcher, int64_t timeout_ms);

/**
 * Stops the watcher, waits for its threads and for every call that is under way on other threads, calls on_destroy, and
 * frees it. It waits for as long as a callback of the host takes; to wait for less, call handoff_watcher_stop() and
 * handoff_watcher_join() first, and keep the watcher when that returns HANDOFF_TIMEOUT.
 *
 * watcher: NULL is allowed, and nothing. No new call may begin once this has: a thread that calls in a loop is to be
 * told first, by handoff_watcher_stop(), and to leave its loop at HANDOFF_STOPPED.
 * Returns HANDOFF_OK; HANDOFF_ERROR_BUSY inside a callback of this watcher, where nothing is done; or
 * HANDOFF_ERROR_FORKED, where what the watcher holds is left alone for good, on_destroy is not called, and the parent's
 * watcher goes on.
 * Thread: any. In callbacks: not in those of this watcher. Since 0.1.0.
 */
int32_t handoff_watcher_free(struct handoff_watcher *watcher);

/**
 * Whether at least one replica of a pool is ready. The registry follows the directory, whether or not the host takes
 * events: it changes before the event of a change can be had.
 *
 * watcher: not NULL. pool_id: not NULL, UTF-8.
 * Returns HANDOFF_OK when one is, HANDOFF_NOT_FOUND when none is, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_is_ready(const struct handoff_watcher *watcher, const char *pool_id);

/**
 * Waits until at least one replica of a pool is ready.
 *
 * watcher: not NULL. pool_id: not NULL, UTF-8.
 * timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
 * Returns HANDOFF_OK when one is, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
 * Thread: any. In callbacks: not in on_log of this watcher; in on_event it delays the events. Since 0.1.0.
 */
int32_t handoff_registry_wait_ready(const struct handoff_watcher *watcher, const char *pool_id, int64_t timeout_ms);

/**
 * Waits until a replica is ready.
 *
 * watcher: not NULL. pool_id, replica_id: not NULL, UTF-8.
 * timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
 * Returns HANDOFF_OK when it is, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
 * Thread: any. In callbacks: not in on_log of this watcher; in on_event it delays the events. Since 0.1.0.
 */
int32_t handoff_registry_wait_replica_ready(const struct handoff_watcher *watcher,
                                            const char *pool_id,
                                            const char *replica_id,
                                            int64_t timeout_ms);

/**
 * The handoff of a replica that is ready, as JSON.
 *
 * watcher: not NULL. pool_id, replica_id: not NULL, UTF-8.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free(): one flat object
 * with the fields of the handoff, the unknown ones last.
 * Returns HANDOFF_OK, HANDOFF_NOT_FOUND when it is not ready, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_get(const struct handoff_watcher *watcher,
                             const char *pool_id,
                             const char *replica_id,
                             char **json);

/**
 * The handoffs of all replicas that are ready, as a JSON array, sorted by pool and replica.
 *
 * watcher: not NULL.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_list(const struct handoff_watcher *watcher, char **json);

/**
 * Every pool of which there is a handoff, ready or not, as a JSON array sorted by pool: what the next heartbeat carries.
 * Each is {"pool_id", "ready", "slots_free", "slots_total", "engine", "replicas_ready"}.
 *
 * watcher: not NULL.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_pools(const struct handoff_watcher *watcher,
                               char **json);

/**
 * How many replicas are ready.
 *
 * watcher: not NULL.
 * count: not NULL; set on HANDOFF_OK.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_count(const struct handoff_watcher *watcher, uint64_t *count);

/**
 * A number that grows with every change of the registry, and with nothing else.
 *
 * watcher: not NULL.
 * generation: not NULL; set on HANDOFF_OK.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_registry_generation(const struct handoff_watcher *watcher, uint64_t *generation);

/**
 * The figures, as of the last round of the scanning thread.
 *
 * watcher: not NULL.
 * stats: not NULL, with its struct_size set; the rest is set on HANDOFF_OK.
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_stats(const struct handoff_watcher *watcher, struct handoff_stats *stats);

/**
 * The figures as JSON: one object, times in seconds.
 *
 * watcher: not NULL.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_stats_json(const struct handoff_watcher *watcher, char **json);

/**
 * The figures, the health and the pools as text for Prometheus: the text exposition format, version 0.0.4. What there is
 * is listed in src/metrics.md; names stay, a later version may add some. There is a series for each pool.
 *
 * watcher: not NULL.
 * text: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_metrics(const struct handoff_watcher *watcher,
                                char **text);

/**
 * Whether the watcher does its work.
 *
 * watcher: not NULL.
 * health: not NULL, with its struct_size set; the rest is set on HANDOFF_OK.
 * Returns HANDOFF_OK, also when all is not well; or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_health(const struct handoff_watcher *watcher, struct handoff_health *health);

/**
 * Whether the watcher does its work, as JSON: {"running", "available", "stalled", "error", "mode", "mode_error"}, with
 * the text of why the directory cannot be listed, or the watcher ended by itself; "mode" is "instant" or "polling", and
 * "mode_error" the text of why it is not the one that was asked for.
 *
 * watcher: not NULL.
 * json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_watcher_health_json(const struct handoff_watcher *watcher, char **json);

/**
 * Writes a handoff, so that a watcher sees the old one or the new one whole. The directory is made if it is not there. The
 * content is on the disk when this returns, which typically takes some milliseconds. Calls for one replica should come
 * one after the other.
 *
 * runtime_dir: the directory, not NULL and not ""; a path as the system has it.
 * payload: not NULL, with its struct_size set.
 * file: NULL, or on HANDOFF_OK set to the path of the file: a string that is the host's, to be freed by
 * handoff_string_free().
 * Returns HANDOFF_OK, HANDOFF_ERROR_SCHEMA for an impossible field, HANDOFF_ERROR_CONFIG for an empty runtime_dir,
 * HANDOFF_ERROR_IO, or HANDOFF_ERROR_INVALID_ARGUMENT.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_publish(const char *runtime_dir,
                        const struct handoff_payload *payload,
                        char **file);

/**
 * The same as handoff_publish(), of a handoff that is JSON already.
 *
 * runtime_dir: the directory, not NULL and not ""; a path as the system has it.
 * json, length: the document in UTF-8 and its length in bytes; not NULL. It need not end with a NUL. What this library
 * does not know is kept; but there a whole number beyond 64 bits becomes the nearest double, and one beyond the range of
 * a double is refused.
 * file: as in handoff_publish().
 * Returns as handoff_publish(), and HANDOFF_ERROR_SYNTAX.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_publish_json(const char *runtime_dir,
                             const char *json,
                             size_t length,
                             char **file);

/**
 * Removes the handoff of a replica that was published; a watcher then reports the replica as removed.
 *
 * runtime_dir: the directory, not NULL and not ""; a path as the system has it. pool_id, replica_id: not NULL, UTF-8.
 * Returns HANDOFF_OK, HANDOFF_NOT_FOUND when there was none, HANDOFF_ERROR_SCHEMA for ids that no replica can have,
 * HANDOFF_ERROR_CONFIG for an empty runtime_dir, HANDOFF_ERROR_IO, or HANDOFF_ERROR_INVALID_ARGUMENT.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_withdraw(const char *runtime_dir, const char *pool_id, const char *replica_id);

/**
 * Checks a document as a watcher does, whose size limit apart.
 *
 * json, length: the document and its length in bytes; NULL only with length 0. It need not end with a NUL.
 * normalized: NULL, or on HANDOFF_OK set to the handoff in the order, and with the names and the numbers, in which this
 * library writes it (see handoff_publish_json): a string that is the host's, to be freed by handoff_string_free().
 * Returns HANDOFF_OK, HANDOFF_ERROR_SYNTAX, HANDOFF_ERROR_SCHEMA, or HANDOFF_ERROR_INVALID_ARGUMENT. Of the error,
 * handoff_last_error(), _field(), _line() and _column() say what and where.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
int32_t handoff_check(const char *json, size_t length, char **normalized);

/**
 * Frees a string that this library gave away.
 *
 * string: from a function that says so; NULL is allowed, and nothing.
 * Thread: any. In callbacks: yes. Since 0.1.0.
 */
void handoff_string_free(char *string);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* The default configuration: handoff_config config = HANDOFF_CONFIG_INIT; Since 0.1.0. */
#define HANDOFF_CONFIG_INIT \
    {sizeof(handoff_config), NULL, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0, NULL, 0, 0, 0}

#endif /* HANDOFF_WATCHER_H */
