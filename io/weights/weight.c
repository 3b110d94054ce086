/* A model's weight in a checkpoint: found, checked, and described for the backend. */
#include "io/weights/weight.h"

#include <stdio.h>
#include <string.h>

/* "[4096, 1536]" */
static void dims_text(char *text, size_t bytes, int rank, const int64_t *dims)
{
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < rank && used < bytes; i++)
        used +=
            (size_t)snprintf(text + used, bytes - used, i ? ", %lld" : "%lld", (long long)dims[i]);
    if (used < bytes)
        snprintf(text + used, bytes - used, "]");
}

static bool same_dims(const struct wf_st_tensor *t, enum wf_param_kind kind, int rank,
                      const int64_t *dims)
{
    const bool is_conv = kind == WF_PARAM_CONV || kind == WF_PARAM_UPCONV;
    if (t->rank == rank)
        return memcmp(t->dim, dims, (size_t)rank * sizeof *dims) == 0;
    return is_conv && rank == 5 && dims[2] == 1 && t->rank == 4 && t->dim[0] == dims[0] &&
           t->dim[1] == dims[1] && t->dim[2] == dims[3] && t->dim[3] == dims[4];
}

static enum wf_status unknown_type(const struct wf_st_tensor *t, struct wf_error *err)
{
    return wf_fail(
        err, WF_REFUSED,
        "%s: tensor %s is of type %s, which is not supported; use the model's weights in "
        "BF16, F16 or F32",
        t->path, t->name, t->type);
}

/* The tensor of that name, of a floating type and with those dims. */
static enum wf_status find(struct wf_checkpoint *ckpt, enum wf_param_kind kind, const char *name,
                           int rank, const int64_t *dims, const struct wf_st_tensor **found,
                           struct wf_error *err)
{
    char expected[128], actual[192];
    dims_text(expected, sizeof expected, rank, dims);
    const struct wf_st_tensor *t = wf_checkpoint_find(ckpt, name);
    const struct wf_st_tensor *other = t ? NULL : wf_checkpoint_left_out(ckpt, name);
    if (other || (t && t->dtype > WF_BF16))
        return unknown_type(other ? other : t, err);
    if (!t)
        return wf_fail(err, WF_REFUSED,
                       "%s: its weights have no tensor %s %s; config.json and weights do not "
                       "belong together, download the folder again",
                       wf_checkpoint_config(ckpt)->path, name, expected);
    dims_text(actual, sizeof actual, t->rank, t->dim);
    if (!same_dims(t, kind, rank, dims))
        return wf_fail(err, WF_REFUSED,
                       "%s: tensor %s is %s, expected %s; config.json and weights do not belong "
                       "together, download the folder again",
                       t->path, name, actual, expected);
    *found = t;
    return WF_OK;
}

/* A parameter in its kind's form: a LINEAR has two axes, a convolution five. */
static struct wf_param describe(enum wf_param_kind kind, int rank, const int64_t *dims)
{
    struct wf_param p = {.kind = kind, .rank = rank};
    memcpy(p.dim, dims, (size_t)rank * sizeof *dims);
    if (kind == WF_PARAM_LINEAR) {
        for (int i = 2; i < rank; i++)
            p.dim[1] *= dims[i];
        p.rank = 2;
        p.dim[2] = p.dim[3] = p.dim[4] = 0;
    } else if ((kind == WF_PARAM_CONV || kind == WF_PARAM_UPCONV) && rank == 4) {
        p.rank = 5;
        p.dim[4] = dims[3];
        p.dim[3] = dims[2];
        p.dim[2] = 1;
    }
    return p;
}

enum wf_status wf_weight_find(struct wf_checkpoint *ckpt, enum wf_param_kind kind, const char *name,
                              int rank, const int64_t *dims, struct wf_param *p,
                              const struct wf_st_tensor **tensor, struct wf_error *err)
{
    const int most = (int)(sizeof p->dim / sizeof *p->dim);
    if (rank < 1 || rank > most)
        return wf_fail(err, WF_FAILED, "weights: tensor %s cannot be declared here (rank %d)", name,
                       rank);
    WF_TRY(find(ckpt, kind, name, rank, dims, tensor, err));
    *p = describe(kind, rank, dims);
    return WF_OK;
}
