/* Rows of a file turned into panels, read and turned by all threads at once. */
#ifndef WEFT_KERNELS_CPU_PACK_H
#define WEFT_KERNELS_CPU_PACK_H

#include "kernels/cpu/cpu.h"

/* A matrix [outputs,depth] as words of 32 bits, each a value of f32 or two of bf16 that follow each
   other along depth, in panels of `width` outputs one after the other, each [words,width] dense.
   What fills up the last panel, and the words beyond depth, are zeros. */
struct wf_word_panels {
    enum wf_dtype type;
    int64_t outputs, depth;
    int64_t width; /* a multiple of 16 */
    int64_t words;
};

/* What that takes of a source of that type. */
struct wf_cpu_need wf_pack_words_need(const struct wf_word_panels *panels, enum wf_dtype dtype);
/* src has outputs x depth values of any floating type. */
enum wf_status wf_pack_words(struct wf_backend *be, const struct wf_word_panels *panels,
                             const struct wf_source *src, uint32_t *room);

#endif
