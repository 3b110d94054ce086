#include "kernels/backend.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/base/arena.h"
#include "kernels/base/threads.h"
#include "kernels/cpu/cpu.h"
#include "kernels/module.h"
#include "kernels/plan/plan.h"
#include "kernels/ref/ref.h"

/* A device's table, or what opens the module that has it. */
static const struct device {
    const char *name;
    const struct wf_ops *ops;
    enum wf_status (*load)(const struct wf_ops **ops, struct wf_error *err);
    const char *driver; /* a library */
} registry[] = {{.name = "ref", .ops = &wf_ref_ops},
                {.name = "cpu", .ops = &wf_cpu_ops},
                {.name = "cuda", .load = wf_module_cuda, .driver = "libcuda.so.1"}};

/* Fills the empty slots of a table from its base. False where one stays empty: a crash in mid-run.
   Every member from `open` on is a function. */
static bool complete(struct wf_ops *ops)
{
    static const unsigned char empty[sizeof(void (*)(void))];
    unsigned char *bytes = (unsigned char *)ops;
    const unsigned char *base = (const unsigned char *)ops->base;
    for (size_t at = offsetof(struct wf_ops, open); at < sizeof *ops; at += sizeof empty) {
        if (base && memcmp(bytes + at, empty, sizeof empty) == 0)
            memcpy(bytes + at, base + at, sizeof empty);
        if (memcmp(bytes + at, empty, sizeof empty) == 0)
            return false;
    }
    return true;
}

/* NAME or NAME:N; N is for devices that there may be several of. */
static const struct device *find_device(const char *name, int *ordinal)
{
    const size_t length = strcspn(name, ":");
    const char *number = name + length;
    *ordinal = 0;
    for (size_t i = 0; i < sizeof registry / sizeof *registry; i++) {
        const struct device *d = &registry[i];
        if (strlen(d->name) != length || strncmp(d->name, name, length) != 0)
            continue;
        if (!*number)
            return d;
        if (!d->load || strlen(number) < 2 || strlen(number) > 4 ||
            strspn(number + 1, "0123456789") != strlen(number) - 1)
            return NULL;
        *ordinal = (int)strtol(number + 1, NULL, 10);
        return d;
    }
    return NULL;
}

enum wf_status wf_backend_check_device(const char *name, struct wf_error *err)
{
    int ordinal;
    return find_device(name, &ordinal)
               ? WF_OK
               : wf_fail(err, WF_REFUSED, "device: %s is not known; use cpu or cuda", name);
}

bool wf_backend_has_driver(const char *name)
{
    int ordinal;
    const struct device *device = find_device(name, &ordinal);
    return device && (!device->driver || wf_module_driver(device->driver));
}

enum wf_status wf_backend_check_dtype(const char *dtype, struct wf_error *err)
{
    if (strcmp(dtype, "f32") == 0 || strcmp(dtype, "bf16") == 0)
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "dtype: %s is not supported; use f32 or bf16", dtype);
}

static enum wf_dtype choose_compute(const struct wf_backend *be, const char *dtype)
{
    const bool narrow = dtype ? strcmp(dtype, "bf16") == 0 : be->ops.is_fast(be, WF_BF16);
    return narrow ? WF_BF16 : WF_F32;
}

bool wf_backend_suits(const struct wf_backend *be, const char *dtype)
{
    return be->compute == choose_compute(be, dtype);
}

static enum wf_status open_with(const struct wf_ops *ops, int ordinal, int threads,
                                struct wf_mem *mem, struct wf_mem *device_mem, struct wf_error *err,
                                struct wf_backend **be)
{
    struct wf_ops table = *ops;
    if (!complete(&table))
        return wf_fail(err, WF_FAILED, "device %s: an operation is missing; this is a bug in weft",
                       ops->name);
    struct wf_backend *opened = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *opened);
    if (!opened)
        return wf_fail_memory(err, ops->name, sizeof *opened);
    opened->ops = table;
    opened->mem = mem;
    opened->device_mem = device_mem ? device_mem : mem;
    opened->ordinal = ordinal;
    opened->err = err;
    opened->threads = threads > 0 ? threads : wf_thread_default();
    const enum wf_status status = opened->ops.open(opened);
    if (status == WF_OK)
        *be = opened;
    else
        wf_free(opened);
    return status;
}

static enum wf_status open_table(const struct wf_ops *ops, int ordinal, const char *dtype,
                                 int threads, struct wf_mem *mem, struct wf_mem *device_mem,
                                 struct wf_error *err, struct wf_backend **be)
{
    if (dtype)
        WF_TRY(wf_backend_check_dtype(dtype, err));
    WF_TRY(open_with(ops, ordinal, threads, mem, device_mem, err, be));
    (*be)->compute = choose_compute(*be, dtype);
    if (!(*be)->device.queued)                                  /* a queue has bounds of its own */
        (*be)->piece = (*be)->compute == WF_BF16 ? 1e11 : 5e10; /* about 0.25 s on two cores */
    return WF_OK;
}

enum wf_status wf_backend_open(const char *name, const char *dtype, int threads, struct wf_mem *mem,
                               struct wf_mem *device_mem, struct wf_error *err,
                               struct wf_backend **be)
{
    int ordinal;
    *be = NULL;
    WF_TRY(wf_backend_check_device(name, err));
    const struct device *device = find_device(name, &ordinal);
    const struct wf_ops *ops = device->ops;
    if (!ops)
        WF_TRY(device->load(&ops, err));
    return open_table(ops, ordinal, dtype, threads, mem, device_mem, err, be);
}

enum wf_status wf_backend_open_table(const struct wf_ops *ops, const char *dtype, int threads,
                                     struct wf_mem *mem, struct wf_mem *device_mem,
                                     struct wf_error *err, struct wf_backend **be)
{
    *be = NULL;
    return open_table(ops, 0, dtype, threads, mem, device_mem, err, be);
}

enum wf_status wf_backend_open_same(const struct wf_backend *be, struct wf_backend **same)
{
    *same = NULL;
    return open_table(&be->ops, be->ordinal, wf_backend_dtype(be), be->threads, be->mem,
                      be->device_mem, be->err, same);
}

enum wf_status wf_backend_open_plan(struct wf_backend *like, struct wf_mem *mem,
                                    struct wf_mem *device_mem, struct wf_error *err,
                                    struct wf_backend **be)
{
    *be = NULL;
    WF_TRY(open_with(&wf_plan_ops, like->ordinal, like->threads, mem, device_mem, err, be));
    wf_plan_stand_for(*be, like);
    return WF_OK;
}

void wf_backend_close(struct wf_backend **be)
{
    if (!*be)
        return;
    (*be)->ops.close(*be);
    wf_free(*be);
    *be = NULL;
}

const char *wf_backend_dtype(const struct wf_backend *be)
{
    return be->compute == WF_BF16 ? "bf16" : "f32";
}

static void *take_activations(void *context, size_t bytes)
{
    struct wf_backend *be = context;
    return be->ops.take(be, WF_MEM_ACTIVATIONS, bytes);
}

static void give_activations(void *context, void *ptr)
{
    struct wf_backend *be = context;
    be->ops.give(be, ptr);
}

struct wf_arena_source wf_backend_source(struct wf_backend *be)
{
    return (struct wf_arena_source){take_activations, give_activations, be};
}
