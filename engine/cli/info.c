#include <jansson.h>
#include <stdio.h>

#include "engine/cli/cli.h"

static void print_text(const struct cli *cli, const struct weft_model_info *info)
{
    printf("%s: %s (%s)\n", cli->model, info->family, info->pipeline);
    for (int i = 0; i < info->component_count; i++) {
        const struct weft_component *c = &info->components[i];
        printf("  %-13s %-32s", c->name, c->class_name);
        if (c->tensors)
            printf(" %8.3f M parameters, %5d tensors, %9.1f MB", (double)c->parameters / 1e6,
                   c->tensors, (double)c->bytes / 1e6);
        putchar('\n');
    }
    printf("  in all %.3f M parameters, %.1f MB\n", (double)info->parameters / 1e6,
           (double)info->bytes / 1e6);
    printf("  takes: %s\n", info->takes & WEFT_TAKES_IMAGE ? "an image (-i)" : "a prompt (-p)");
    printf("  defaults: %dx%d, %d frames at %g a second, %d steps, guidance ", info->width,
           info->height, info->num_frames, (double)info->fps_num / info->fps_den, info->steps);
    if (info->takes & WEFT_TAKES_GUIDANCE_RANGE)
        printf("%g to %g", info->min_guidance_scale, info->max_guidance_scale);
    else
        printf("%g", info->guidance_scale);
    if (info->takes & WEFT_TAKES_MOTION)
        printf(", motion bucket %d, noise %g", info->motion_bucket_id, info->noise_aug_strength);
    putchar('\n');
}

static json_t *component_json(const struct weft_component *c)
{
    return json_pack("{s:s, s:o, s:I, s:i, s:I}", "name", c->name, "class",
                     cli_json_text(c->class_name), "parameters", (json_int_t)c->parameters,
                     "tensors", c->tensors, "bytes", (json_int_t)c->bytes);
}

/* Adds a number where the model takes it. */
static void add_number(json_t *object, const struct weft_model_info *info, unsigned takes,
                       const char *name, double value)
{
    if (info->takes & takes)
        json_object_set_new(object, name, json_real(value));
}

static json_t *defaults_json(const struct weft_model_info *info)
{
    json_t *d = json_pack("{s:i, s:i, s:i, s:i, s:f}", "width", info->width, "height", info->height,
                          "num_frames", info->num_frames, "steps", info->steps, "fps",
                          (double)info->fps_num / info->fps_den);
    add_number(d, info, WEFT_TAKES_GUIDANCE, "guidance_scale", info->guidance_scale);
    add_number(d, info, WEFT_TAKES_GUIDANCE_RANGE, "min_guidance_scale", info->min_guidance_scale);
    add_number(d, info, WEFT_TAKES_GUIDANCE_RANGE, "max_guidance_scale", info->max_guidance_scale);
    add_number(d, info, WEFT_TAKES_MOTION, "motion_bucket_id", info->motion_bucket_id);
    add_number(d, info, WEFT_TAKES_MOTION, "noise_aug_strength", info->noise_aug_strength);
    return d;
}

static json_t *takes_json(const struct weft_model_info *info)
{
    json_t *takes = json_array();
    if (info->takes & WEFT_TAKES_PROMPT)
        json_array_append_new(takes, json_string("prompt"));
    if (info->takes & WEFT_TAKES_IMAGE)
        json_array_append_new(takes, json_string("image"));
    return takes;
}

static int print_json(const struct cli *cli, const struct weft_model_info *info)
{
    json_t *components = json_array();
    for (int i = 0; i < info->component_count; i++)
        json_array_append_new(components, component_json(&info->components[i]));
    json_t *root =
        json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "model", cli_json_text(cli->model),
                  "family", info->family, "pipeline", info->pipeline, "parameters",
                  (json_int_t)info->parameters, "bytes", (json_int_t)info->bytes, "components",
                  components, "takes", takes_json(info), "defaults", defaults_json(info));
    const int failed = !root || json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
    return failed ? CLI_FAILED : CLI_OK;
}

static int print(const struct cli *cli, const struct weft_model_info *info)
{
    int code = CLI_OK;
    if (cli->json)
        code = print_json(cli, info);
    else
        print_text(cli, info);
    if (fflush(stdout) != 0 || code != CLI_OK) {
        cli_say("standard output: the result could not be written");
        return CLI_FAILED;
    }
    return CLI_OK;
}

int cli_run_info(struct cli *cli)
{
    struct weft_engine *engine = NULL;
    struct weft_model *model = NULL;
    const struct weft_model_info *info = NULL;
    enum weft_status status = weft_engine_open(&cli->settings, &engine);
    if (status == WEFT_OK)
        status = weft_model_open(engine, cli->model, cli->variant, &model);
    if (status == WEFT_OK)
        status = weft_model_describe(model, &info);
    if (status == WEFT_OK)
        cli_accept(cli);
    else
        cli_say("%s", weft_engine_error(engine));
    const int code = status == WEFT_OK        ? print(cli, info)
                     : status == WEFT_REFUSED ? CLI_REFUSED
                                              : CLI_FAILED;
    weft_model_close(&model);
    weft_engine_close(&engine);
    return code;
}
