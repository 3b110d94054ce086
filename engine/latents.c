#include "engine/latents.h"

#include "engine/finite.h"
#include "io/weights/safetensors.h"
#include "kernels/base/arena.h"
#include "kernels/base/philox.h"
#include "kernels/base/rng.h"

static enum wf_status check_tensor(const struct wf_st_tensor *t, const char *path,
                                   const int64_t want[5], int64_t found[5], struct wf_error *err)
{
    bool fits =
        t && t->rank == 5 && (t->dtype == WF_F32 || t->dtype == WF_F16 || t->dtype == WF_BF16);
    for (int i = 0; fits && i < 5; i++) {
        fits = t->dim[i] > 0 && (!want[i] || t->dim[i] == want[i]);
        found[i] = t->dim[i];
    }
    if (fits)
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: %s; expected tensor `latents`, F32 [1,%lld,%s]", path,
                   t ? "tensor `latents` is not of the right type or dims"
                     : "there is no tensor `latents`",
                   (long long)want[1], "T,h,w of the clip");
}

static enum wf_status read_values(const struct wf_st_tensor *t, struct wf_mem *mem, float **values,
                                  struct wf_error *err)
{
    WF_TRY(wf_st_read_f32(t, mem, values, err));
    if (wf_all_finite(*values, t->bytes / wf_dtype_bytes(t->dtype)))
        return WF_OK;
    wf_free(*values);
    *values = NULL;
    return wf_fail(err, WF_REFUSED,
                   "%s: the latents are not all numbers (NaN or infinite); make them again",
                   t->path);
}

enum wf_status wf_latents_read(const char *path, struct wf_mem *mem, const int64_t want[5],
                               int64_t found[5], float **values, struct wf_error *err)
{
    struct wf_st_file *file = NULL;
    WF_TRY(wf_st_open(path, mem, &file, err));
    const struct wf_st_tensor *t = wf_st_find(file, "latents");
    enum wf_status status = check_tensor(t, path, want, found, err);
    if (status == WF_OK)
        status = read_values(t, mem, values, err);
    wf_st_close(&file);
    return status;
}

enum wf_status wf_latents_noise(struct wf_backend *be, bool of_gpu, uint64_t seed, size_t count,
                                float **values, struct wf_error *err)
{
    struct wf_rng rng;
    *values = wf_alloc(be->mem, WF_MEM_CACHE, count * sizeof **values);
    if (!*values)
        return wf_fail_memory(err, "latents", count * sizeof **values);
    if (be->is_plan)
        return WF_OK;
    if (of_gpu) {
        wf_philox_normal(seed, be->device.processors, be->device.threads, *values, count);
        return WF_OK;
    }
    wf_rng_seed(&rng, seed);
    wf_rng_normal(&rng, *values, count);
    return WF_OK;
}

/* Room for [C,T,h,w] on the backend. */
static enum wf_status new_planes(struct wf_backend *be, struct wf_arena *arena,
                                 struct wf_tensor latents, struct wf_tensor *planes)
{
    const int64_t *d = latents.dim;
    return wf_tensor_new(arena, WF_F32, planes, be->err, WF_DIMS(d[3], d[0], d[1], d[2]));
}

enum wf_status wf_latents_upload(struct wf_backend *be, struct wf_tensor latents,
                                 const float *values, struct wf_arena *arena)
{
    struct wf_tensor planes;
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    WF_TRY(new_planes(be, arena, latents, &planes));
    WF_TRY(wf_upload(be, planes, values));
    WF_TRY(wf_copy(
        be, &(struct wf_copy){.y = latents, .x = wf_tensor_permute(planes, WF_ORDER(1, 2, 3, 0))}));
    wf_arena_release(arena, mark);
    return WF_OK;
}

enum wf_status wf_latents_download(struct wf_backend *be, float *values, struct wf_tensor latents,
                                   struct wf_arena *arena)
{
    struct wf_tensor planes;
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    WF_TRY(new_planes(be, arena, latents, &planes));
    WF_TRY(wf_copy(
        be, &(struct wf_copy){.y = planes, .x = wf_tensor_permute(latents, WF_ORDER(3, 0, 1, 2))}));
    WF_TRY(wf_download(be, values, planes));
    wf_arena_release(arena, mark);
    return WF_OK;
}
