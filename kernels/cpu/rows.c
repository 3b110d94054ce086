/* The operations that pass over memory once, row by row. */
#include "kernels/cpu/cpu.h"

enum {
    SMALL_WORK = 16384, /* elements that are not worth waking other threads for */
    PIECE = 8192,       /* elements of a row where dense operands may be cut at will */
};

static float *row_of(const struct wf_tensor *t, int64_t row)
{
    return (float *)t->data + wf_tensor_row(t, row);
}

/* Where a row of y is computed: in y, or beside it where it has to be converted. */
static float *begin_row(const struct wf_backend *be, const struct wf_tensor *y, int64_t row)
{
    return y->dtype == WF_F32 ? row_of(y, row) : wf_cpu_own_scratch(be);
}

static void end_row(const struct wf_loops *loops, const struct wf_tensor *y, int64_t row,
                    const float *values)
{
    if (y->dtype != WF_F32)
        loops->from_f32(wf_at(y, wf_tensor_row(y, row)), y->dtype, values, y->dim[y->rank - 1]);
}

/* Room for the rows of y that have to be converted. */
static enum wf_status row_room(struct wf_backend *be, const char *where, const struct wf_tensor *y)
{
    if (y->dtype == WF_F32)
        return WF_OK;
    return wf_cpu_scratch(be, where, (size_t)y->dim[y->rank - 1] * sizeof(float));
}

enum wf_status wf_cpu_layer_norm(struct wf_backend *be, const struct wf_layer_norm *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t rows = a->x.dim[0], width = a->x.dim[1], elements = rows * width;
    WF_TRY(row_room(be, "layer_norm", &a->y));
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
    for (int64_t m = 0; m < rows; m++) {
        float *y = begin_row(be, &a->y, m);
        loops->layer_norm(y, row_of(&a->x, m), a->weight.data, a->shift.data, width, a->eps);
        end_row(loops, &a->y, m, y);
    }
    return WF_OK;
}

enum wf_status wf_cpu_rms_norm(struct wf_backend *be, const struct wf_rms_norm *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t rows = a->x.dim[0], width = a->x.dim[1], elements = rows * width;
    WF_TRY(row_room(be, "rms_norm", &a->y));
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
    for (int64_t m = 0; m < rows; m++) {
        float *y = begin_row(be, &a->y, m);
        loops->rms_norm(y, row_of(&a->x, m), a->weight.data, width, a->form, a->act, a->eps);
        end_row(loops, &a->y, m, y);
    }
    return WF_OK;
}

enum wf_status wf_cpu_rope(struct wf_backend *be, const struct wf_rope *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t steps = a->x.dim[0], heads = a->x.dim[1], width = a->x.dim[2];
    const int64_t elements = steps * heads * width;
    WF_TRY(row_room(be, "rope", &a->y));
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
    for (int64_t s = 0; s < steps; s++) {
        for (int64_t row = s * heads; row < (s + 1) * heads; row++) {
            float *y = begin_row(be, &a->y, row);
            loops->rope(y, row_of(&a->x, row), row_of(&a->cos, s), row_of(&a->sin, s), width / 2);
            end_row(loops, &a->y, row, y);
        }
    }
    return WF_OK;
}

enum wf_status wf_cpu_affine(struct wf_backend *be, const struct wf_affine *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t rows = a->x.dim[0], width = a->x.dim[1], elements = rows * width;
#pragma omp parallel for num_threads(wf_cpu_team(be, elements, SMALL_WORK)) schedule(static)
    for (int64_t m = 0; m < rows; m++)
        loops->affine(row_of(&a->y, m), row_of(&a->x, m), a->weight.data, a->shift.data, width,
                      a->low, a->high);
    return WF_OK;
}

/* Dense tensors may be walked in pieces of any length. */
struct pieces {
    int64_t count, length, elements;
    bool dense;
};

static struct pieces cut(const struct wf_tensor *y, bool dense)
{
    struct pieces p = {.elements = wf_tensor_count(y), .dense = dense};
    p.length = dense ? PIECE : y->dim[y->rank - 1];
    p.count = dense ? (p.elements + PIECE - 1) / PIECE : wf_tensor_rows(y);
    return p;
}

static float *piece_of(const struct wf_tensor *t, const struct pieces *p, int64_t i)
{
    return p->dense ? (float *)t->data + i * PIECE : row_of(t, i);
}

static int64_t piece_length(const struct pieces *p, int64_t i)
{
    const int64_t left = p->elements - i * p->length;
    return p->dense && left < p->length ? left : p->length;
}

enum wf_status wf_cpu_lincomb(struct wf_backend *be, const struct wf_lincomb *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    bool dense = wf_tensor_is_dense(&a->y);
    for (int k = 0; k < a->terms; k++)
        dense = dense && wf_tensor_is_dense(&a->x[k]);
    const struct pieces p = cut(&a->y, dense);
#pragma omp parallel for num_threads(wf_cpu_team(be, p.elements, SMALL_WORK)) schedule(static)
    for (int64_t i = 0; i < p.count; i++) {
        const float *x[WF_LINCOMB_TERMS] = {0};
        for (int k = 0; k < a->terms; k++)
            x[k] = piece_of(&a->x[k], &p, i);
        loops->lincomb(piece_of(&a->y, &p, i), x, a->c, a->terms, piece_length(&p, i));
    }
    return WF_OK;
}

enum wf_status wf_cpu_activate(struct wf_backend *be, const struct wf_activate *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct pieces p = cut(&a->y, true);
#pragma omp parallel for num_threads(wf_cpu_team(be, p.elements, SMALL_WORK)) schedule(static)
    for (int64_t i = 0; i < p.count; i++)
        loops->act(piece_of(&a->y, &p, i), piece_of(&a->x, &p, i), piece_length(&p, i), a->act);
    return WF_OK;
}

enum wf_status wf_cpu_gated_act(struct wf_backend *be, const struct wf_gated_act *a)
{
    const struct wf_tensor *y = &a->y;
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const bool dense =
        wf_tensor_is_dense(y) && wf_tensor_is_dense(&a->a) && wf_tensor_is_dense(&a->b);
    const struct pieces p = cut(y, dense && y->dtype == WF_F32);
    WF_TRY(row_room(be, "gated_act", y));
#pragma omp parallel for num_threads(wf_cpu_team(be, p.elements, SMALL_WORK)) schedule(static)
    for (int64_t i = 0; i < p.count; i++) {
        float *to = p.dense ? piece_of(y, &p, i) : begin_row(be, y, i);
        loops->gated_act(to, piece_of(&a->a, &p, i), piece_of(&a->b, &p, i), piece_length(&p, i),
                         a->act);
        end_row(loops, y, i, to);
    }
    return WF_OK;
}

enum wf_status wf_cpu_pack_u8(struct wf_backend *be, const struct wf_pack_u8 *a)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct pieces p = cut(&a->x, true);
#pragma omp parallel for num_threads(wf_cpu_team(be, p.elements, SMALL_WORK)) schedule(static)
    for (int64_t i = 0; i < p.count; i++)
        loops->pack_u8((uint8_t *)a->y.data + i * PIECE, piece_of(&a->x, &p, i),
                       piece_length(&p, i));
    return WF_OK;
}
