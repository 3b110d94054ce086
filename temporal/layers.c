#include "temporal/layers.h"

#include <stdarg.h>
#include <stdio.h>

enum { NAME_BYTES = 160 };

static enum wf_status add_parts(struct wf_residency *res, struct wf_layer *layer,
                                enum wf_param_kind kind, int rank, const int64_t *dims,
                                const char *prefix, struct wf_error *err)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.weight", prefix);
    WF_TRY(wf_residency_add(res, &layer->weight, kind, name, rank, dims, err));
    if (!layer->has_bias)
        return WF_OK;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return wf_residency_add(res, &layer->bias, WF_PARAM_VECTOR, name, 1, dims, err);
}

static enum wf_status add(struct wf_residency *res, struct wf_layer *layer, bool has_bias,
                          enum wf_param_kind kind, int rank, const int64_t *dims,
                          struct wf_error *err, const char *format, va_list args)
{
    char prefix[NAME_BYTES - 8];
    vsnprintf(prefix, sizeof prefix, format, args);
    *layer = (struct wf_layer){.has_bias = has_bias, .res = res};
    WF_TRY(wf_residency_layer(res, &layer->unit, err));
    const enum wf_status status = add_parts(res, layer, kind, rank, dims, prefix, err);
    wf_residency_layer_end(res);
    return status;
}

enum wf_status wf_layer_add(struct wf_residency *res, struct wf_layer *layer,
                            enum wf_param_kind kind, int rank, const int64_t *dims,
                            struct wf_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const enum wf_status status = add(res, layer, true, kind, rank, dims, err, format, args);
    va_end(args);
    return status;
}

enum wf_status wf_layer_add_weight(struct wf_residency *res, struct wf_layer *layer,
                                   enum wf_param_kind kind, int rank, const int64_t *dims,
                                   struct wf_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const enum wf_status status = add(res, layer, false, kind, rank, dims, err, format, args);
    va_end(args);
    return status;
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

enum wf_status wf_layer_acquire(const struct wf_layer *layer, struct wf_error *err)
{
    return wf_residency_acquire(layer->res, layer->unit, err);
}

void wf_layer_release(const struct wf_layer *layer)
{
    wf_residency_release(layer->res, layer->unit);
}

enum wf_status wf_layers_acquire(const struct wf_layer *const *layers, int count,
                                 struct wf_error *err)
{
    for (int i = 0; i < count; i++) {
        const enum wf_status status = wf_layer_acquire(layers[i], err);
        if (status != WF_OK) {
            wf_layers_release(layers, i);
            return status;
        }
    }
    return WF_OK;
}

void wf_layers_release(const struct wf_layer *const *layers, int count)
{
    while (count > 0)
        wf_layer_release(layers[--count]);
}

static const struct wf_param *bias_of(const struct wf_layer *layer)
{
    return layer->has_bias ? &layer->bias : NULL;
}

static enum wf_status multiply(struct wf_backend *be, const struct wf_layer *layer,
                               struct wf_gemm gemm)
{
    gemm.w = &layer->weight;
    gemm.bias = bias_of(layer);
    WF_TRY(wf_layer_acquire(layer, be->err));
    const enum wf_status status = wf_gemm(be, &gemm);
    wf_layer_release(layer);
    return status;
}

enum wf_status wf_linear(struct wf_backend *be, const struct wf_layer *layer, struct wf_tensor x,
                         struct wf_tensor y, enum wf_act act)
{
    return multiply(be, layer, (struct wf_gemm){.x = x, .y = y, .act = act});
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
    return multiply(be, layer, (struct wf_gemm){.x = x, .y = y, .gate = gate, .accumulate = true});
}

enum wf_status wf_layer_conv(struct wf_backend *be, const struct wf_layer *layer,
                             struct wf_conv conv)
{
    conv.w = &layer->weight;
    conv.bias = bias_of(layer);
    WF_TRY(wf_layer_acquire(layer, be->err));
    const enum wf_status status = wf_conv(be, &conv);
    wf_layer_release(layer);
    return status;
}

enum wf_status wf_layer_upconv(struct wf_backend *be, const struct wf_layer *layer,
                               struct wf_upconv conv)
{
    conv.w = &layer->weight;
    conv.bias = bias_of(layer);
    WF_TRY(wf_layer_acquire(layer, be->err));
    const enum wf_status status = wf_upconv(be, &conv);
    wf_layer_release(layer);
    return status;
}
