/* The shortcut around a block of Wan 2.2's decoder that makes frames larger. */
#include "temporal/work.h"
#include "vae/wan_vae.h"

/* How channels of the result come from those of x: channel o at place k of a pixel's `places` is
   channel (o places + k) / repeats. */
struct source {
    int64_t places, repeats;
    int64_t out;
};

/* Places that have their channels from the same ones of x, in a row. */
static int64_t alike(const struct source *s)
{
    return s->repeats % s->places == 0 ? s->places : s->places % s->repeats == 0 ? s->repeats : 1;
}

/* y[..,o] = x[.., channel of o at place k]; y [T,h,w,out]. */
static enum wf_status spread(struct wf_backend *be, const struct source *s, int64_t k,
                             struct wf_tensor x, struct wf_tensor y)
{
    if (s->repeats % s->places == 0) { /* each channel several times in a row */
        struct wf_tensor from = wf_tensor_split(x, 3, 1);
        from.dim[4] = s->repeats / s->places;
        from.stride[4] = 0;
        return wf_copy(be, &(struct wf_copy){.x = from, .y = wf_tensor_split(y, 3, from.dim[4])});
    }
    if (s->places % s->repeats == 0) { /* every so many channels */
        const int64_t step = s->places / s->repeats;
        const struct wf_tensor from =
            wf_tensor_slice(wf_tensor_split(x, 3, step), 4, k / s->repeats, 1);
        return wf_copy(be, &(struct wf_copy){.x = from, .y = wf_tensor_split(y, 3, 1)});
    }
    for (int64_t o = 0; o < s->out; o++) {
        const int64_t c = (o * s->places + k) / s->repeats;
        WF_TRY(wf_copy(be, &(struct wf_copy){.x = wf_tensor_slice(x, 3, c, 1),
                                             .y = wf_tensor_slice(y, 3, o, 1)}));
    }
    return WF_OK;
}

/* y's pixels at place k += x; y [T,ft,h,2,w,2,out]. */
static enum wf_status add_place(struct wf_backend *be, struct wf_tensor y, int64_t k,
                                struct wf_tensor x)
{
    const int64_t at[] = {k / 4, k / 2 % 2, k % 2};
    for (int i = 0; i < 3; i++)
        y = wf_tensor_slice(y, 1 + 2 * i, at[i], 1);
    y = wf_tensor_permute(y, WF_ORDER(0, 2, 4, 6, 1, 3, 5));
    y.rank = 4;
    return wf_lincomb(be, &(struct wf_lincomb){.x = {y, x}, .c = {1, 1}, .terms = 2, .y = y});
}

/* The places from `first` on are y's, [T,2h,2w,out] with their frames one after the other;
   `channels` is room for those of one kind of place. */
static enum wf_status add_places(struct wf_backend *be, const struct source *s, struct wf_tensor x,
                                 struct wf_tensor y, int64_t first, struct wf_tensor channels)
{
    const int64_t kind = alike(s);
    y = wf_tensor_split(wf_tensor_split(y, 2, 2), 1, 2);
    y = wf_tensor_split(y, 0, (s->places - first) / 4);
    for (int64_t k = first; k < s->places; k++) {
        if (k == first || k % kind == 0)
            WF_TRY(spread(be, s, k, x, channels));
        WF_TRY(add_place(be, y, k - first, channels));
    }
    return WF_OK;
}

/* The clip's first frame has no places of the first of its two frames. */
static enum wf_status add_frames(struct wf_backend *be, const struct source *s, struct wf_tensor x,
                                 struct wf_tensor y, bool lone, struct wf_tensor channels)
{
    const int64_t rest = x.dim[0] - lone;
    if (lone)
        WF_TRY(add_places(be, s, wf_tensor_slice(x, 0, 0, 1), wf_tensor_slice(y, 0, 0, 1), 4,
                          wf_tensor_slice(channels, 0, 0, 1)));
    if (!rest)
        return WF_OK;
    return add_places(be, s, wf_tensor_slice(x, 0, lone, rest),
                      wf_tensor_slice(y, 0, lone, y.dim[0] - lone), 0,
                      wf_tensor_slice(channels, 0, 0, rest));
}

enum wf_status wf_wan_shortcut(const struct wf_vae_state *state, struct wf_tensor x,
                               struct wf_tensor y, int ft, bool first)
{
    struct wf_backend *be = state->vae->be;
    const struct source s = {
        .places = ft * 4, .repeats = ft * 4 * y.dim[3] / x.dim[3], .out = y.dim[3]};
    struct wf_tensor channels;
    WF_TRY(wf_work_take(&state->work, WF_F32, WF_DIMS(x.dim[0], x.dim[1], x.dim[2], s.out),
                        &channels));
    const enum wf_status status = add_frames(be, &s, x, y, first && ft == 2, channels);
    wf_work_give(&state->work, channels);
    return status;
}
