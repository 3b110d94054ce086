/* A component's folder open on a device, for the tests of single components. */
#ifndef WEFT_TESTS_COMPONENT_H
#define WEFT_TESTS_COMPONENT_H

#include "io/weights/residency.h"
#include "kernels/base/arena.h"
#include "tests/desk.h"

struct component {
    struct wf_backend *be;
    struct wf_checkpoint *ckpt;
    struct wf_residency *weights;
    struct wf_arena arena; /* of the backend's memory */
};

struct component_place {
    const char *device, *dtype; /* "ref", "cpu"; "f32", "bf16" */
    enum wf_offload offload;
};

/* base: as wf_checkpoint_open has it. Closed with component_close, whatever it returns; what uses
   the component is closed after that. */
enum wf_status component_open(struct desk *desk, const char *folder, const char *base,
                              struct component_place place, struct component *c);
void component_close(struct component *c);

/* A tensor of a file of the fixtures, "clip_vision_a/expect/pixels", whose name is the file's;
   uploaded to the arena. */
struct wf_tensor component_input(struct desk *desk, struct component *c, const char *file);
/* Relative L2 distance of a dense tensor of the backend's from such a file's; the dims must be the
   same. */
double component_distance(struct desk *desk, struct component *c, struct wf_tensor t,
                          const char *file);

/* A folder below the fixtures, "svd_a/model/unet", on the desk, with one key of its config.json
 * given another value. Its weights are a link. */
void component_mend(struct desk *desk, const char *fixture, const char *weights, const char *key,
                    const char *value);

#endif
