#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

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

/* Adds a number where the model takes it; false when memory is short. */
static bool add_number(json_t *object, const struct weft_model_info *info, unsigned takes,
                       const char *name, double value)
{
    return !(info->takes & takes) || json_object_set_new(object, name, json_real(value)) == 0;
}

static json_t *defaults_json(const struct weft_model_info *info)
{
    json_t *d = json_pack("{s:i, s:i, s:i, s:i, s:f}", "width", info->width, "height", info->height,
                          "num_frames", info->num_frames, "steps", info->steps, "fps",
                          (double)info->fps_num / info->fps_den);
    const unsigned range = WEFT_TAKES_GUIDANCE_RANGE, motion = WEFT_TAKES_MOTION;
    if (add_number(d, info, WEFT_TAKES_GUIDANCE, "guidance_scale", info->guidance_scale) &&
        add_number(d, info, range, "min_guidance_scale", info->min_guidance_scale) &&
        add_number(d, info, range, "max_guidance_scale", info->max_guidance_scale) &&
        add_number(d, info, motion, "motion_bucket_id", info->motion_bucket_id) &&
        add_number(d, info, motion, "noise_aug_strength", info->noise_aug_strength))
        return d;
    json_decref(d);
    return NULL;
}

static json_t *takes_json(const struct weft_model_info *info)
{
    const bool prompt = info->takes & WEFT_TAKES_PROMPT, image = info->takes & WEFT_TAKES_IMAGE;
    if (prompt && image)
        return json_pack("[s, s]", "prompt", "image");
    return prompt || image ? json_pack("[s]", prompt ? "prompt" : "image") : json_array();
}

static int print_json(const struct cli *cli, const struct weft_model_info *info)
{
    bool failed = false;
    json_t *components = json_array();
    for (int i = 0; i < info->component_count; i++)
        failed |= json_array_append_new(components, component_json(&info->components[i])) != 0;
    json_t *root =
        json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "model", cli_json_text(cli->model),
                  "family", info->family, "pipeline", info->pipeline, "parameters",
                  (json_int_t)info->parameters, "bytes", (json_int_t)info->bytes, "components",
                  components, "takes", takes_json(info), "defaults", defaults_json(info));
    failed = failed || !root || json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
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

/* --- of a clip --- */

static void print_value(const char *key, const json_t *value)
{
    const json_t *inner;
    const char *name;
    if (json_is_object(value)) {
        printf("  %s:", key);
        json_object_foreach((json_t *)(uintptr_t)value, name, inner)
            printf(" %s", json_string_value(inner) ? json_string_value(inner) : "");
        putchar('\n');
    } else if (json_is_string(value)) {
        printf("  %s: %s\n", key, json_string_value(value));
    } else {
        printf("  %s: %.10g\n", key, json_number_value(value));
    }
}

static int print_recipe(const struct cli *cli, const struct weft_recipe *recipe)
{
    const char *key;
    json_t *value, *root = json_loads(weft_recipe_json(recipe), 0, NULL);
    bool failed = !root;
    if (root && cli->json) {
        failed = json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0;
        putchar('\n');
    } else if (root) {
        printf("%s: made by weft\n", cli->model);
        json_object_foreach(root, key, value) print_value(key, value);
    }
    json_decref(root);
    if (fflush(stdout) == 0 && !ferror(stdout) && !failed)
        return CLI_OK;
    cli_say("standard output: the result could not be written");
    return CLI_FAILED;
}

static int run_clip(struct cli *cli)
{
    struct weft_recipe *recipe = NULL;
    char message[512];
    if (weft_recipe_open(cli->model, &recipe, message, sizeof message) != WEFT_OK) {
        cli_say("%s", message);
        return CLI_REFUSED;
    }
    const int code = print_recipe(cli, recipe);
    weft_recipe_close(&recipe);
    return code;
}

/* --- of a model, or of a clip --- */

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int cli_run_info(struct cli *cli)
{
    if (is_file(cli->model))
        return run_clip(cli);

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
