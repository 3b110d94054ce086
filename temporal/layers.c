#include "temporal/layers.h"

#include <stdarg.h>
#include <stdio.h>

enum { NAME_BYTES = 160 };

enum wf_status wf_layer_add(struct wf_residency *res, struct wf_layer *layer,
                            enum wf_param_kind kind, int rank, const int64_t *dims,
                            struct wf_error *err, const char *format, ...)
{
    char prefix[NAME_BYTES - 8], name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    snprintf(name, sizeof name, "%s.weight", prefix);
    WF_TRY(wf_residency_add(res, &layer->weight, kind, name, rank, dims, err));
    snprintf(name, sizeof name, "%s.bias", prefix);
    return wf_residency_add(res, &layer->bias, WF_PARAM_VECTOR, name, 1, dims, err);
}

enum wf_status wf_vector_add(struct wf_residency *res, struct wf_param *p, int rank,
                             const int64_t *dims, struct wf_error *err, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return wf_residency_add(res, p, WF_PARAM_VECTOR, name, rank, dims, err);
}

enum wf_status wf_linear(struct wf_backend *be, const struct wf_layer *layer, struct wf_tensor x,
                         struct wf_tensor y, enum wf_act act)
{
    return wf_gemm(be, &(struct wf_gemm){
                           .x = x, .y = y, .w = &layer->weight, .bias = &layer->bias, .act = act});
}

enum wf_status wf_operand(struct wf_backend *be, struct wf_arena *arena,
                          const struct wf_layer *layer, struct wf_tensor x,
                          struct wf_tensor *operand)
{
    const enum wf_dtype type = wf_operand_type(be, &layer->weight);
    *operand = x;
    if (x.dtype == type)
        return WF_OK;
    WF_TRY(wf_tensor_new(arena, type, operand, be->err, x.rank, x.dim));
    return wf_copy(be, &(struct wf_copy){.y = *operand, .x = x});
}

enum wf_status wf_linear_add(struct wf_backend *be, const struct wf_layer *layer,
                             struct wf_tensor x, struct wf_tensor y, struct wf_tensor gate)
{
    return wf_gemm(be, &(struct wf_gemm){.x = x,
                                         .y = y,
                                         .w = &layer->weight,
                                         .bias = &layer->bias,
                                         .gate = gate,
                                         .accumulate = true});
}
