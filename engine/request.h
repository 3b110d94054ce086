/* A request: its defaults, and what can be said of its numbers without a model. */
#ifndef WEFT_ENGINE_REQUEST_H
#define WEFT_ENGINE_REQUEST_H

#include "engine/engine.h"
#include "vae/decode.h"

/* Every value that was left to the model. */
void wf_request_fill(struct weft_request *request, const struct wf_defaults *defaults);
enum wf_status wf_request_check(const struct weft_request *request, struct wf_error *err);
/* WF_REFUSED, by the option's name, for what is set and the family does not take, and for an image
   that it needs and is not there. */
enum wf_status wf_request_check_taken(const struct weft_request *request,
                                      const struct wf_family *family, struct wf_error *err);
/* How the request wants its frames decoded; where that is left open, untiled. */
struct wf_decode_settings wf_request_decoding(const struct weft_request *request);
/* The request's seed, or one that is drawn: 32 bits, a number that is easy to type again. */
enum wf_status wf_request_seed(const struct weft_request *request, uint64_t *seed,
                               struct wf_error *err);

#endif
