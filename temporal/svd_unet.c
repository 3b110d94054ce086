#include "temporal/svd_unet.h"

#include "temporal/sincos.h"
#include "temporal/svd_weights.h"

/* --- opening --- */

void wf_svd_unet_close(struct wf_svd_unet **unet)
{
    struct wf_svd_unet *u = *unet;
    if (!u)
        return;
    for (int i = 0; i < u->step_count; i++)
        wf_free(u->steps[i].transformer.within);
    wf_free(u->steps);
    wf_free(u);
    *unet = NULL;
}

enum wf_status wf_svd_unet_open(struct wf_residency *res, struct wf_mem *mem,
                                struct wf_svd_unet **unet, struct wf_error *err)
{
    *unet = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **unet);
    if (!*unet)
        return wf_fail_memory(err, "unet", sizeof **unet);
    (*unet)->res = res;
    (*unet)->be = wf_residency_backend(res);
    (*unet)->mem = mem;
    const enum wf_status status = wf_svd_unet_declare(*unet, err);
    if (status != WF_OK)
        wf_svd_unet_close(unet);
    return status;
}

const struct wf_svd_unet_config *wf_svd_unet_get_config(const struct wf_svd_unet *unet)
{
    return &unet->config;
}

/* --- a run --- */

static enum wf_status take(const struct wf_svd_unet *u, struct wf_tensor *t, int rank,
                           const int64_t *dims)
{
    struct wf_tensor shape = wf_tensor_of(NULL, WF_F32, rank, dims);
    shape.data = u->be->ops.take(u->be, WF_MEM_CACHE, wf_tensor_bytes(&shape));
    if (!shape.data)
        return wf_fail_memory(u->be->err, "unet", wf_tensor_bytes(&shape));
    *t = shape;
    return WF_OK;
}

enum wf_status wf_svd_keep(const struct wf_svd_unet *u, struct wf_tensor t, struct wf_tensor *kept)
{
    struct wf_tensor copy;
    WF_TRY(take(u, &copy, t.rank, t.dim));
    const enum wf_status status = wf_copy(u->be, &(struct wf_copy){.x = t, .y = copy});
    if (status == WF_OK)
        *kept = copy;
    else
        u->be->ops.give(u->be, copy.data);
    return status;
}

static void give(const struct wf_svd_run *run, struct wf_tensor *t)
{
    run->unet->be->ops.give(run->unet->be, t->data);
    *t = (struct wf_tensor){0};
}

static void drop_values(struct wf_svd_run *run)
{
    for (int i = 0; run->values && i < run->unet->crosses; i++)
        give(run, &run->values[i]);
}

static void drop_positions(struct wf_svd_run *run)
{
    for (int i = 0; run->positions && i < run->unet->transformers; i++)
        give(run, &run->positions[i]);
    run->frames = 0;
}

static void drop_condition(struct wf_svd_run *run)
{
    drop_values(run);
    give(run, &run->context);
    give(run, &run->image);
    give(run, &run->added);
}

void wf_svd_run_close(struct wf_svd_run **run)
{
    if (!*run)
        return;
    drop_condition(*run);
    drop_positions(*run);
    wf_free((*run)->values);
    wf_free(*run);
    *run = NULL;
}

enum wf_status wf_svd_run_open(struct wf_svd_unet *unet, int halves, struct wf_svd_run **run,
                               struct wf_error *err)
{
    const size_t kept = (size_t)(unet->crosses + unet->transformers);
    *run = wf_calloc(unet->mem, WF_MEM_MISC, 1, sizeof **run);
    if (!*run)
        return wf_fail_memory(err, "unet", sizeof **run);
    (*run)->unet = unet;
    (*run)->halves = halves;
    (*run)->values = wf_calloc(unet->mem, WF_MEM_MISC, kept + 1, sizeof *(*run)->values);
    if (!(*run)->values) {
        wf_svd_run_close(run);
        return wf_fail_memory(err, "unet", (kept + 1) * sizeof(struct wf_tensor));
    }
    (*run)->positions = (*run)->values + unet->crosses;
    return WF_OK;
}

/* --- the condition --- */

/* y [n,..] = x, and zeros in what follows x's one. */
static enum wf_status with_zeros(struct wf_backend *be, struct wf_tensor x, struct wf_tensor y)
{
    WF_TRY(wf_copy(be, &(struct wf_copy){.x = x, .y = wf_tensor_slice(y, 0, 0, 1)}));
    for (int64_t i = 1; i < y.dim[0]; i++)
        WF_TRY(
            wf_lincomb(be, &(struct wf_lincomb){
                               .x = {x}, .c = {0}, .terms = 1, .y = wf_tensor_slice(y, 0, i, 1)}));
    return WF_OK;
}

enum wf_status wf_svd_set_condition(struct wf_svd_run *run, struct wf_tensor embeds,
                                    struct wf_tensor image, const double ids[WF_SVD_IDS],
                                    struct wf_error *err)
{
    struct wf_svd_unet *u = run->unet;
    const struct wf_svd_unet_config *c = &u->config;
    if (embeds.rank != 2 || embeds.dim[0] != 1 || embeds.dim[1] != c->cross_dim ||
        image.rank != 4 || image.dim[0] != 1 || image.dim[3] != c->in_channels - c->out_channels)
        return wf_fail(err, WF_FAILED, "unet: the condition does not fit the model");
    drop_condition(run);
    WF_TRY(take(u, &run->context, WF_DIMS(run->halves, c->cross_dim)));
    WF_TRY(with_zeros(u->be, embeds, run->context));
    WF_TRY(wf_svd_keep(u, image, &run->image));
    for (int i = 0; i < WF_SVD_IDS; i++)
        run->ids[i] = ids[i];
    return WF_OK;
}

/* --- shared by blocks --- */

enum wf_status wf_svd_linear(const struct wf_svd_pass *p, const struct wf_layer *layer,
                             struct wf_tensor x, enum wf_act act, struct wf_tensor y)
{
    struct wf_tensor operand;
    WF_TRY(wf_work_operand(&p->work, layer, x, &operand));
    WF_TRY(wf_linear(p->be, layer, operand, y, act));
    wf_work_give_operand(&p->work, x, operand);
    return WF_OK;
}

enum wf_status wf_svd_add_row(struct wf_backend *be, struct wf_tensor v, struct wf_tensor x)
{
    struct wf_tensor row = x;
    row.data = v.data;
    for (int i = 0; i < x.rank; i++)
        row.stride[i] = i == x.rank - 1;
    return wf_lincomb(be, &(struct wf_lincomb){.x = {x, row}, .c = {1, 1}, .terms = 2, .y = x});
}

/* --- before the blocks --- */

/* y [1,D] = linear_2(silu(linear_1(sines of the numbers))). */
static enum wf_status embed_numbers(const struct wf_svd_pass *p, const double *numbers, int count,
                                    const struct wf_layer *first, const struct wf_layer *second,
                                    struct wf_tensor y)
{
    struct wf_tensor angles, hidden;
    float *values = wf_calloc(p->run->unet->mem, WF_MEM_ACTIVATIONS, (size_t)first->weight.dim[1],
                              sizeof *values);
    const int64_t width = first->weight.dim[1] / count;
    if (!values)
        return wf_fail_memory(p->be->err, "unet", (size_t)first->weight.dim[1] * sizeof *values);
    for (int i = 0; i < count; i++)
        wf_sincos(values + i * width, width, numbers[i]);
    enum wf_status status =
        wf_work_take(&p->work, WF_F32, WF_DIMS(1, first->weight.dim[1]), &angles);
    if (status == WF_OK)
        status = wf_upload(p->be, angles, values);
    wf_free(values);
    WF_TRY(status);
    WF_TRY(wf_work_take(&p->work, WF_F32, y.rank, y.dim, &hidden));
    WF_TRY(wf_svd_linear(p, first, angles, WF_ACT_SILU, hidden));
    WF_TRY(wf_svd_linear(p, second, hidden, WF_ACT_NONE, y));
    wf_work_give(&p->work, hidden);
    wf_work_give(&p->work, angles);
    return WF_OK;
}

/* emb = silu(time + ids). */
static enum wf_status embed_time(struct wf_svd_pass *p, double timestep)
{
    struct wf_svd_unet *u = p->run->unet;
    struct wf_tensor *added = &p->run->added;
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(1, 4 * u->config.widths[0]), &p->emb));
    if (!added->data) {
        WF_TRY(embed_numbers(p, p->run->ids, WF_SVD_IDS, &u->ids_1, &u->ids_2, p->emb));
        WF_TRY(wf_svd_keep(u, p->emb, added));
    }
    WF_TRY(embed_numbers(p, &timestep, 1, &u->time_1, &u->time_2, p->emb));
    WF_TRY(wf_svd_add_row(p->be, *added, p->emb));
    return wf_activate(p->be, &(struct wf_activate){.x = p->emb, .y = p->emb, .act = WF_ACT_SILU});
}

/* x [halves T,h,w,in]: the latents' channels, then the image's, which the second half lacks. */
static enum wf_status join_image(const struct wf_svd_pass *p, struct wf_tensor latents,
                                 struct wf_tensor x)
{
    struct wf_tensor image = p->run->image;
    const int64_t own = latents.dim[3], more = image.dim[3];
    image.dim[0] = p->frames;
    image.stride[0] = 0;
    for (int half = 0; half < p->run->halves; half++) {
        const struct wf_tensor part = wf_svd_half(p, x, half);
        const struct wf_tensor rest = wf_tensor_slice(part, 3, own, more);
        WF_TRY(
            wf_copy(p->be, &(struct wf_copy){.x = latents, .y = wf_tensor_slice(part, 3, 0, own)}));
        WF_TRY(wf_lincomb(
            p->be,
            &(struct wf_lincomb){.x = {image}, .c = {half == 0 ? 1 : 0}, .terms = 1, .y = rest}));
    }
    return WF_OK;
}

static enum wf_status enter(struct wf_svd_pass *p, struct wf_tensor latents, double timestep,
                            struct wf_tensor *y)
{
    struct wf_svd_unet *u = p->run->unet;
    const int64_t n = p->run->halves * p->frames, h = latents.dim[1], w = latents.dim[2];
    struct wf_conv conv = {WF_SVD_PADDED, .stride_hw = 1};
    struct wf_tensor x;
    WF_TRY(embed_time(p, timestep));
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(n, h, w, u->config.in_channels), &x));
    WF_TRY(join_image(p, latents, x));
    WF_TRY(wf_work_take(&p->work, WF_F32, WF_DIMS(n, h, w, u->config.widths[0]), y));
    WF_TRY(wf_work_operand(&p->work, &u->conv_in, x, &conv.x));
    conv.y = *y;
    WF_TRY(wf_layer_conv(p->be, &u->conv_in, conv));
    wf_work_give_operand(&p->work, x, conv.x);
    wf_work_give(&p->work, x);
    return WF_OK;
}

/* --- steps --- */

/* Results that wait for the way up. */
struct kept {
    struct wf_tensor items[WF_SVD_STEPS + 1];
    int count;
};

static enum wf_status run_step(const struct wf_svd_pass *p, const struct wf_svd_step *s,
                               struct wf_tensor x, struct wf_tensor skip, struct wf_tensor y)
{
    switch (s->kind) {
    case WF_SVD_DOWN:
        return wf_svd_halve(p, &s->conv, x, y);
    case WF_SVD_UP:
        return wf_svd_doubles(x, y) ? wf_svd_double(p, &s->conv, x, y)
                                    : wf_svd_enlarge(p, &s->plain, x, y);
    case WF_SVD_BLOCK:
        break;
    }
    WF_TRY(wf_svd_resnet_run(p, &s->resnet, x, skip, y));
    return s->attends ? wf_svd_transformer_run(p, &s->transformer, y) : WF_OK;
}

/* Dims of a step's result; on the way up they are those of what is taken next. */
static void result_dims(const struct wf_svd_step *s, struct wf_tensor x, const struct kept *kept,
                        int64_t dims[4])
{
    const int64_t *like = s->kind == WF_SVD_UP ? kept->items[kept->count - 1].dim : x.dim;
    const int64_t by = s->kind == WF_SVD_DOWN ? 2 : 1;
    dims[0] = x.dim[0];
    dims[1] = (like[1] + by - 1) / by;
    dims[2] = (like[2] + by - 1) / by;
    dims[3] = s->kind == WF_SVD_BLOCK ? s->resnet.out : x.dim[3];
}

/* x becomes the step's result; what nobody needs any more goes back. */
static enum wf_status take_step(const struct wf_svd_pass *p, const struct wf_svd_step *s,
                                struct kept *kept, bool *is_kept, struct wf_tensor *x)
{
    struct wf_residency *res = p->run->unet->res;
    struct wf_tensor skip = {0}, y;
    int64_t dims[4];
    if (s->pops)
        skip = kept->items[--kept->count];
    result_dims(s, *x, kept, dims);
    WF_TRY(wf_work_take(&p->work, WF_F32, 4, dims, &y));
    const int group = s->kind == WF_SVD_UP && !wf_svd_doubles(*x, y) ? s->plain_group : s->group;
    WF_TRY(wf_residency_acquire(res, group, p->be->err));
    const enum wf_status status = run_step(p, s, *x, skip, y);
    wf_residency_release(res, group);
    if (skip.data)
        wf_work_give(&p->work, skip);
    if (!*is_kept)
        wf_work_give(&p->work, *x);
    if (s->keeps)
        kept->items[kept->count++] = y;
    *is_kept = s->keeps;
    *x = y;
    return status;
}

/* --- behind the blocks --- */

static enum wf_status leave_half(const struct wf_svd_pass *p, struct wf_tensor x,
                                 struct wf_tensor prediction)
{
    const struct wf_svd_unet *u = p->run->unet;
    const int64_t bytes = x.dim[1] * x.dim[2] * x.dim[3] * (int64_t)sizeof(float);
    const int64_t n = wf_work_pieces(bytes, p->frames);
    for (int64_t i = 0; i < p->frames; i += n) {
        const struct wf_tensor part =
            wf_tensor_slice(x, 0, i, p->frames - i < n ? p->frames - i : n);
        struct wf_conv conv = {WF_SVD_PADDED, .stride_hw = 1};
        conv.y = wf_tensor_slice(prediction, 0, i, part.dim[0]);
        WF_TRY(wf_work_take(&p->work, wf_operand_type(p->be, &u->conv_out.weight), 4, part.dim,
                            &conv.x));
        WF_TRY(wf_group_norm_frames(&p->work, &u->norm_out, part, WF_ACT_SILU, conv.x));
        WF_TRY(wf_layer_conv(p->be, &u->conv_out, conv));
        wf_work_give(&p->work, conv.x);
    }
    return WF_OK;
}

static enum wf_status leave(const struct wf_svd_pass *p, struct wf_tensor x,
                            const struct wf_tensor *prediction)
{
    const struct wf_svd_unet *u = p->run->unet;
    WF_TRY(wf_residency_acquire(u->res, u->head_group, p->be->err));
    enum wf_status status = wf_layer_acquire(&u->conv_out, p->be->err);
    if (status == WF_OK) {
        for (int half = 0; half < p->run->halves && status == WF_OK; half++)
            status = leave_half(p, wf_svd_half(p, x, half), prediction[half]);
        wf_layer_release(&u->conv_out);
    }
    wf_residency_release(u->res, u->head_group);
    return status;
}

/* --- forward --- */

static enum wf_status check_latents(const struct wf_svd_run *run, struct wf_tensor latents,
                                    struct wf_error *err)
{
    const struct wf_tensor *image = &run->image;
    if (!image->data || latents.rank != 4 || latents.dim[3] != run->unet->config.out_channels ||
        latents.dim[1] != image->dim[1] || latents.dim[2] != image->dim[2])
        return wf_fail(err, WF_FAILED, "unet: latents or condition do not fit the model");
    return WF_OK;
}

static enum wf_status run_steps(const struct wf_svd_pass *p, struct wf_tensor first,
                                const struct wf_tensor *prediction)
{
    const struct wf_svd_unet *u = p->run->unet;
    struct kept kept = {.items = {first}, .count = 1};
    struct wf_tensor x = first;
    bool is_kept = true;
    for (int i = 0; i < u->step_count; i++)
        WF_TRY(take_step(p, &u->steps[i], &kept, &is_kept, &x));
    WF_TRY(leave(p, x, prediction));
    wf_work_give(&p->work, x);
    return WF_OK;
}

enum wf_status wf_svd_forward(struct wf_svd_run *run, struct wf_tensor latents, double timestep,
                              const struct wf_tensor *prediction, struct wf_pool *pool,
                              struct wf_error *err)
{
    struct wf_svd_unet *u = run->unet;
    struct wf_svd_pass p = {
        .run = run, .work = {u->be, pool, "unet"}, .be = u->be, .frames = latents.dim[0]};
    struct wf_tensor x;
    WF_TRY(check_latents(run, latents, err));
    if (run->frames != p.frames)
        drop_positions(run);
    run->frames = p.frames;
    WF_TRY(wf_residency_acquire(u->res, u->embed_group, err));
    const enum wf_status status = enter(&p, latents, timestep, &x);
    wf_residency_release(u->res, u->embed_group);
    WF_TRY(status);
    WF_TRY(run_steps(&p, x, prediction));
    wf_work_give(&p.work, p.emb);
    return WF_OK;
}
