/* The layers that the models are made of: a weight, mostly with a bias, that are declared, held and
   applied together. */
#ifndef WEFT_TEMPORAL_LAYERS_H
#define WEFT_TEMPORAL_LAYERS_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"

struct wf_layer {
    struct wf_param weight, bias;
    bool has_bias;
    struct wf_residency *res;
    int unit; /* of the residency */
};

/* Adds "PREFIX.weight" and "PREFIX.bias" [out] to the group begun last, where PREFIX is printed
   from the format. dims are the weight's in the file, out first; they are checked as they stand. */
enum wf_status wf_layer_add(struct wf_residency *res, struct wf_layer *layer,
                            enum wf_param_kind kind, int rank, const int64_t *dims,
                            struct wf_error *err, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
/* The same without a bias. */
enum wf_status wf_layer_add_weight(struct wf_residency *res, struct wf_layer *layer,
                                   enum wf_param_kind kind, int rank, const int64_t *dims,
                                   struct wf_error *err, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

/* Adds a tensor of its own, a VECTOR that is held with its group. */
enum wf_status wf_vector_add(struct wf_residency *res, struct wf_param *p, int rank,
                             const int64_t *dims, struct wf_error *err, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The functions below hold the layer while they use it. Who uses one several times in a row holds
   it around them, so that it is loaded once. Its group is held. */
enum wf_status wf_layer_acquire(const struct wf_layer *layer, struct wf_error *err);
void wf_layer_release(const struct wf_layer *layer);

/* Several, or none where one fails. */
enum wf_status wf_layers_acquire(const struct wf_layer *const *layers, int count,
                                 struct wf_error *err);
void wf_layers_release(const struct wf_layer *const *layers, int count);

/* y = act(x w^T + b); x [M,in], y [M,out]. */
enum wf_status wf_linear(struct wf_backend *be, const struct wf_layer *layer, struct wf_tensor x,
                         struct wf_tensor y, enum wf_act act);
/* x in the type that the layer takes: itself, or a copy in the arena. */
enum wf_status wf_operand(struct wf_backend *be, struct wf_arena *arena,
                          const struct wf_layer *layer, struct wf_tensor x,
                          struct wf_tensor *operand);
/* y += gate * (x w^T + b); gate [out], data NULL for 1. */
enum wf_status wf_linear_add(struct wf_backend *be, const struct wf_layer *layer,
                             struct wf_tensor x, struct wf_tensor y, struct wf_tensor gate);
/* wf_conv and wf_upconv with the layer's weight and bias. */
enum wf_status wf_layer_conv(struct wf_backend *be, const struct wf_layer *layer,
                             struct wf_conv conv);
enum wf_status wf_layer_upconv(struct wf_backend *be, const struct wf_layer *layer,
                               struct wf_upconv conv);

#endif
