#include "vae/svd_config.h"

#include "temporal/group_norm.h"

static enum wf_status refuse_unsupported(const struct wf_json *json,
                                         const struct wf_svd_vae_config *c, struct wf_error *err)
{
    int64_t out = 3;
    WF_TRY(wf_json_int(json, "out_channels", 1, 4096, &out, err));
    if (out != 3)
        return wf_fail(err, WF_REFUSED, "%s: out_channels is %lld; expected 3", json->path,
                       (long long)out);
    for (int i = 0; i < c->levels; i++) {
        if (c->widths[i] % WF_NORM_GROUPS)
            return wf_fail(err, WF_REFUSED,
                           "%s: block_out_channels has %lld, which %d groups do not divide",
                           json->path, (long long)c->widths[i], WF_NORM_GROUPS);
    }
    if (!(c->scaling > 0))
        return wf_fail(err, WF_REFUSED, "%s: scaling_factor is %g; expected a number above 0",
                       json->path, c->scaling);
    return WF_OK;
}

enum wf_status wf_svd_config_read(const struct wf_json *json, struct wf_svd_vae_config *c,
                                  struct wf_error *err)
{
    *c = (struct wf_svd_vae_config){.latent_channels = 4,
                                    .layers = 1,
                                    .widths = {64},
                                    .levels = 1,
                                    .scaling = 0.18215,
                                    .force_upcast = true};
    WF_TRY(wf_json_int(json, "latent_channels", 1, 256, &c->latent_channels, err));
    WF_TRY(wf_json_int(json, "layers_per_block", 1, WF_SVD_LAYERS, &c->layers, err));
    WF_TRY(wf_json_ints(json, "block_out_channels", 1, 8192, WF_SVD_LEVELS, c->widths, &c->levels,
                        err));
    WF_TRY(wf_json_double(json, "scaling_factor", 0, 1e6, &c->scaling, err));
    WF_TRY(wf_json_bool(json, "force_upcast", &c->force_upcast, err));
    c->levels = c->levels ? c->levels : 1;
    return refuse_unsupported(json, c, err);
}
