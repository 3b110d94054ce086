/* Element types of tensors. */
#ifndef WEFT_KERNELS_BASE_DTYPE_H
#define WEFT_KERNELS_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum wf_dtype { WF_F32, WF_F16, WF_BF16, WF_U8, WF_I32, WF_DTYPES };

size_t wf_dtype_bytes(enum wf_dtype dtype);
const char *wf_dtype_name(enum wf_dtype dtype); /* as safetensors spells it: "F32" */

/* One value of any floating type from and to f32; to a 16-bit type rounds to nearest even. */
float wf_f16_to_f32(uint16_t bits);
float wf_bf16_to_f32(uint16_t bits);
uint16_t wf_f32_to_f16(float value);
uint16_t wf_f32_to_bf16(float value);

/* n contiguous floating values to f32. src needs no alignment. */
void wf_to_f32(float *dst, const void *src, enum wf_dtype dtype, size_t n);
/* n contiguous f32 values to a floating type. dst needs no alignment. */
void wf_from_f32(void *dst, enum wf_dtype dtype, const float *src, size_t n);

#endif
