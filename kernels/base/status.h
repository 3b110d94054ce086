/* Status codes and the error detail that travels with them. */
#ifndef WEFT_KERNELS_BASE_STATUS_H
#define WEFT_KERNELS_BASE_STATUS_H

/* The values of OK, FAILED, REFUSED and CANCELLED are those of enum weft_status in engine/weft.h.
 */
enum wf_status {
    WF_OK = 0,
    WF_FAILED = 1,    /* failed while running: device, disk, memory, damage met midway */
    WF_REFUSED = 2,   /* refused before any compute: bad value, bad file, unwritable output */
    WF_CANCELLED = 3, /* the caller asked to stop */
};

/* One message, one line: "WHERE: WHAT WAS WRONG; WHAT TO DO". Owned by the caller, one a thread. */
struct wf_error {
    enum wf_status status;
    char text[512];
};

/* Fills *err (NULL is allowed), replacing what it held; control characters of file and tensor names
   become '?'. Returns status, so that a function can end with "return wf_fail(...)". */
enum wf_status wf_fail(struct wf_error *err, enum wf_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The message of an allocation that failed; bytes 0: not known how large a one. */
enum wf_status wf_fail_memory(struct wf_error *err, const char *where, unsigned long long bytes);

/* The message of a job that was told to stop. */
enum wf_status wf_fail_cancelled(struct wf_error *err);

/* What is found while running is no refusal any more: WF_REFUSED becomes WF_FAILED, in *err (NULL
   is allowed) too; any other status stays. */
enum wf_status wf_fail_late(enum wf_status status, struct wf_error *err);

/* Returns from the calling function when the call did not succeed. */
#define WF_TRY(call)                                                                               \
    do {                                                                                           \
        const enum wf_status wf_try_status_ = (call);                                              \
        if (wf_try_status_ != WF_OK)                                                               \
            return wf_try_status_;                                                                 \
    } while (0)

#endif
