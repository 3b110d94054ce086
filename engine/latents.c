#include "engine/latents.h"

#include <stdio.h>
#include <string.h>

#include "engine/finite.h"
#include "io/weights/safetensors.h"
#include "kernels/base/arena.h"

/* Which axis of [T,h,w,C] each axis of diffusers' layout is. */
static const int *file_order(bool frames_first)
{
    static const int orders[2][4] = {{3, 0, 1, 2}, {0, 3, 1, 2}};
    return orders[frames_first];
}

void wf_latents_file_dims(bool frames_first, const int64_t dims[4], int64_t file[5])
{
    file[0] = 1;
    for (int i = 0; i < 4; i++)
        file[1 + i] = dims[file_order(frames_first)[i]];
}

/* "[1,16,T,h,w]": an axis of any length is its letter. */
static void name_dims(bool frames_first, const int64_t dims[4], char text[128])
{
    size_t used = (size_t)snprintf(text, 128, "[1");
    for (int i = 0; i < 4; i++) {
        const int axis = file_order(frames_first)[i];
        if (dims[axis])
            used += (size_t)snprintf(text + used, 128 - used, ",%lld", (long long)dims[axis]);
        else
            used += (size_t)snprintf(text + used, 128 - used, ",%c", "ThwC"[axis]);
    }
    snprintf(text + used, 128 - used, "]");
}

/* t: what is there under that name, of whatever type, or NULL. */
static enum wf_status refuse_tensor(const struct wf_st_tensor *t, const char *path,
                                    bool frames_first, const int64_t dims[4], struct wf_error *err)
{
    char want[128], found[256] = "";
    name_dims(frames_first, dims, want);
    if (!t)
        return wf_fail(err, WF_REFUSED,
                       "%s: there is no tensor `latents`; expected one, F32, F16, BF16 or F64 %s",
                       path, want);
    for (int i = 0; i < t->rank; i++) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    }
    return wf_fail(err, WF_REFUSED,
                   "%s: tensor `latents` is %s [%s]; expected F32, F16, BF16 or F64 %s", path,
                   t->type, found, want);
}

static enum wf_status check_tensor(const struct wf_st_file *file, const char *path,
                                   bool frames_first, int64_t dims[4], struct wf_error *err)
{
    const struct wf_st_tensor *t = wf_st_find(file, "latents");
    int64_t want[5];
    wf_latents_file_dims(frames_first, dims, want);
    bool fits =
        t && t->rank == 5 && (t->dtype == WF_F32 || t->dtype == WF_F16 || t->dtype == WF_BF16);
    for (int i = 0; fits && i < 5; i++)
        fits = t->dim[i] > 0 && (!want[i] || t->dim[i] == want[i]);
    if (!fits)
        return refuse_tensor(t ? t : wf_st_left_out(file, "latents"), path, frames_first, dims,
                             err);
    for (int i = 0; i < 4; i++)
        dims[file_order(frames_first)[i]] = t->dim[1 + i];
    return WF_OK;
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

enum wf_status wf_latents_read(const char *path, bool frames_first, struct wf_mem *mem,
                               int64_t dims[4], float **values, struct wf_error *err)
{
    struct wf_st_file *file = NULL;
    WF_TRY(wf_st_open(path, mem, &file, err));
    enum wf_status status = check_tensor(file, path, frames_first, dims, err);
    if (status == WF_OK)
        status = read_values(wf_st_find(file, "latents"), mem, values, err);
    wf_st_close(&file);
    return status;
}

/* Room for diffusers' layout on the backend. */
static enum wf_status new_planes(struct wf_backend *be, struct wf_arena *arena,
                                 struct wf_tensor latents, bool frames_first,
                                 struct wf_tensor *planes)
{
    int64_t dims[5];
    wf_latents_file_dims(frames_first, latents.dim, dims);
    return wf_tensor_new(arena, WF_F32, planes, be->err, 4, dims + 1);
}

enum wf_status wf_latents_upload(struct wf_backend *be, struct wf_tensor latents, bool frames_first,
                                 const float *values, struct wf_arena *arena)
{
    struct wf_tensor planes;
    int back[4]; /* the order's inverse */
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    for (int i = 0; i < 4; i++)
        back[file_order(frames_first)[i]] = i;
    WF_TRY(new_planes(be, arena, latents, frames_first, &planes));
    WF_TRY(wf_upload(be, planes, values));
    WF_TRY(wf_copy(be, &(struct wf_copy){.y = latents, .x = wf_tensor_permute(planes, back)}));
    wf_arena_release(arena, mark);
    return WF_OK;
}

enum wf_status wf_latents_download(struct wf_backend *be, float *values, struct wf_tensor latents,
                                   bool frames_first, struct wf_arena *arena)
{
    struct wf_tensor planes;
    const struct wf_arena_mark mark = wf_arena_mark(arena);
    WF_TRY(new_planes(be, arena, latents, frames_first, &planes));
    WF_TRY(
        wf_copy(be, &(struct wf_copy){.y = planes,
                                      .x = wf_tensor_permute(latents, file_order(frames_first))}));
    WF_TRY(wf_download(be, values, planes));
    wf_arena_release(arena, mark);
    return WF_OK;
}
