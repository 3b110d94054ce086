/* What the files of the CUDA backend share. Its own thread besides the caller's is the loader's. */
#ifndef WEFT_KERNELS_CUDA_CUDA_H
#define WEFT_KERNELS_CUDA_CUDA_H

#include <pthread.h>

#include "kernels/backend.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/graph.h"

struct wf_loader;

enum {
    WF_CUDA_WORKSPACE = 64 << 20, /* of the library calls, one at a time */
    WF_CUDA_ALIGN = 256,
    WF_CUDA_PIECES = 4, /* of the ring that uploads go through */
    WF_CUDA_PIECE = 1 << 20,
    WF_CUDA_DOWNLOADS = 4, /* begun, that later writes have to come after */
};

struct wf_cuda_block {
    struct wf_cuda_block *next;
    void *data;
    size_t bytes;
    enum wf_mem_tag tag;
    bool pinned;
};

struct wf_cuda_download {
    const unsigned char *first, *end; /* of the device, what is read */
    uint64_t event;
};

/* be->state */
struct wf_cuda {
    struct wf_driver *driver;
    struct wf_cublas *cublas;
    struct cudnnContext *cudnn;
    struct wf_graphs *graphs;
    struct wf_error graphs_err; /* theirs: be->err may be pointed elsewhere while they are open */
    struct wf_loader *loader;
    void *workspace;

    pthread_mutex_t lock; /* of the blocks */
    struct wf_cuda_block *blocks;

    /* Uploads: host values are copied here, so that the caller's memory is free at once. */
    struct {
        unsigned char *piece[WF_CUDA_PIECES];
        uint64_t event[WF_CUDA_PIECES]; /* of the copy that still reads it */
        int next;
    } ring;

    struct wf_cuda_download downloads[WF_CUDA_DOWNLOADS];
    int next_download;

    const char *last; /* operation that was queued: a device tells its errors late */
    int code;         /* of the first error; all that follows fails */

    /* Where the device's time goes, when it is asked for: a mark where the kind of work changes. */
    struct {
        enum wf_kind kind[WF_DRIVER_MARKS];
        int first, count; /* marks that are not read, around */
    } profile;

    /* So much work is queued at most, that cancelling is heard soon: see queue.c. */
    struct {
        double done, budget; /* FLOPs: queued before, and between two events */
        uint64_t event[2];
        double joined; /* the clock, when the last was */
    } pace;
};

static inline struct wf_cuda *wf_cuda_of(const struct wf_backend *be)
{
    return be->state;
}

/* --- queue.c --- */

/* WF_OK, or WF_FAILED once the device has failed; what: the operation. WF_CUDA_SAID: the message is
   the graphs'. */
enum { WF_CUDA_SAID = -1 };
enum wf_status wf_cuda_check(struct wf_backend *be, const char *what, int code);
/* Queues a launcher on the compute stream, after what y's memory is still read for; y may be NULL.
 */
enum wf_status wf_cuda_launch(struct wf_backend *be, const char *what, const struct wf_tensor *y,
                              wf_launcher *launcher, const void *args, size_t bytes);
/* What the compute stream does from here on is of that kind. */
int wf_cuda_begin_kind(struct wf_backend *be, enum wf_kind kind);
/* The compute stream comes after downloads that still read of these bytes of the device. */
int wf_cuda_come_after_downloads(struct wf_cuda *c, const void *data, size_t bytes);
enum wf_status wf_cuda_sync(struct wf_backend *be);
enum wf_status wf_cuda_upload(struct wf_backend *be, const struct wf_tensor *dst, const void *src);
enum wf_status wf_cuda_download(struct wf_backend *be, void *dst, const struct wf_tensor *src);
enum wf_status wf_cuda_download_begin(struct wf_backend *be, void *dst, const struct wf_tensor *src,
                                      uint64_t *ticket);
enum wf_status wf_cuda_wait(struct wf_backend *be, uint64_t ticket);
/* A piece of the ring that may be written now, and its copy to dst after that. */
enum wf_status wf_cuda_piece(struct wf_backend *be, void **piece);
enum wf_status wf_cuda_send_piece(struct wf_backend *be, void *dst, size_t bytes);

/* --- memory.c --- */

void *wf_cuda_take(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);
void wf_cuda_give(struct wf_backend *be, void *ptr);
void *wf_cuda_take_host(struct wf_backend *be, enum wf_mem_tag tag, size_t bytes);

/* --- param.c, loader.c --- */

size_t wf_cuda_param_bytes(const struct wf_backend *be, const struct wf_param *p);
enum wf_status wf_cuda_load_begin(struct wf_backend *be, struct wf_param *p);
enum wf_status wf_cuda_load_end(struct wf_backend *be, struct wf_param *p);
void wf_cuda_unload(struct wf_backend *be, struct wf_param *p);
/* A VECTOR's values rounded to bf16, which lie behind its f32 ones where products are of bf16. */
const void *wf_cuda_vector_bf16(const struct wf_param *p);
/* Rows of a CONV's weight: O, or the multiple of 8 that cuDNN takes. */
int64_t wf_cuda_conv_rows(const struct wf_backend *be, const struct wf_param *p);

/* Puts values into their room by a thread of its own; all but open and close in the caller's. */
enum wf_status wf_loader_open(struct wf_backend *be, struct wf_loader **loader);
void wf_loader_close(struct wf_loader **loader);
struct wf_load;
enum wf_status wf_loader_begin(struct wf_loader *loader, struct wf_backend *be,
                               const struct wf_param *p, struct wf_load **load);
/* Waits until its last piece is queued; the compute stream comes after it. Frees the load. */
enum wf_status wf_loader_end(struct wf_loader *loader, struct wf_backend *be, struct wf_load *load);
void wf_loader_drop(struct wf_loader *loader,
                    struct wf_load *load); /* its source is not read any more */

/* --- operations --- */

#define WF_CUDA_SLOT(name)                                                                         \
    enum wf_status wf_cuda_##name(struct wf_backend *be, const struct wf_##name *a);
WF_OPS(WF_CUDA_SLOT)
void wf_cuda_scratch(struct wf_backend *be, enum wf_op op, const void *args,
                     struct wf_scratch *scratch);

extern const struct wf_ops wf_cuda_ops;

#endif
