/* Where a model's components compute: a device each, and the type of its products. Components of
   one device and one type share a backend. */
#ifndef WEFT_ENGINE_PLACE_H
#define WEFT_ENGINE_PLACE_H

#include "engine/engine.h"

/* Takes device, type and maps from the settings; WF_REFUSED where they can be no such thing. Opens
   the device where every component goes to the same. */
enum wf_status wf_engine_place(struct weft_engine *engine, const struct weft_settings *settings);
void wf_engine_close_backends(struct weft_engine *engine);

/* Opens what the components of a model compute on, if it is not open. WF_REFUSED where a map names
   a component that the family does not have. */
enum wf_status wf_model_place(struct weft_model *model, struct wf_error *err);
/* Where a component computes; the engine's. */
struct wf_backend *wf_model_backend(const struct weft_model *model, const char *component);
/* "cpu", or where components differ "text_encoder=cpu,vae=ref"; the same of types. */
enum { WF_PLACES_BYTES = 512 };
void wf_model_devices(const struct weft_model *model, char text[WF_PLACES_BYTES]);
void wf_model_dtypes(const struct weft_model *model, char text[WF_PLACES_BYTES]);

#endif
