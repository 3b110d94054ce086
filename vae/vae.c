#include "vae/vae.h"

#include <string.h>

static const struct wf_vae_driver *const drivers[] = {&wf_vae_wan, &wf_vae_svd};

enum wf_status wf_vae_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err)
{
    *vae = NULL;
    const struct wf_json *config = wf_checkpoint_config(wf_residency_checkpoint(res));
    const char *name = NULL;
    WF_TRY(wf_json_require(config, "_class_name", err));
    WF_TRY(wf_json_string(config, "_class_name", &name, err));
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->class_name, name) == 0)
            return drivers[i]->open(res, mem, vae, err);
    }
    return wf_fail(err, WF_REFUSED, "%s: VAE %s is not known; weft knows %s", config->path, name,
                   drivers[0]->class_name);
}

void wf_vae_close(struct wf_vae **vae)
{
    if (*vae)
        (*vae)->driver->close(*vae);
    *vae = NULL;
}

int64_t wf_vae_frames(const struct wf_vae *vae, int64_t latent_frames, bool first)
{
    const int64_t frames = latent_frames * vae->geometry.temporal;
    return first && vae->geometry.causal ? frames - (vae->geometry.temporal - 1) : frames;
}
