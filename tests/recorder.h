/* What jobs ask of convolution and attention: published models run on the plan backend, with slots
   that note each shape once. */
#ifndef WEFT_TESTS_RECORDER_H
#define WEFT_TESTS_RECORDER_H

#include "kernels/cuda/graph.h"

enum { RECORDED_CONVS = 256, RECORDED_ATTENTIONS = 32 };

/* Those in bf16 (own kernels serve f32), as the CUDA backend asks for them: y BF16 and nothing
   accumulated, an upconv as one 2x2 convolution to four times the channels, channels padded to a
   multiple of 8. */
struct recorded {
    int convs, attentions;
    struct wf_graph_conv conv[RECORDED_CONVS];
    struct wf_graph_attention attention[RECORDED_ATTENTIONS];
};

/* What a clip's latents are, and how they are decoded. */
struct recorder_clip {
    int64_t frames, height, width; /* of the latents */
    int64_t chunk_size;            /* frames, as wf_decoder_open says */
};

/* Adds the shapes of one forward pass of that published model, with a short and a whole text, and
   of decoding the clip. Fails the test where that is not possible. */
void record(struct recorded *recorded, const char *model, const struct recorder_clip *clip);

#endif
