#include "tests/request.h"

#include <stdio.h>

static double number(const json_t *root, const char *key, double missing)
{
    const json_t *value = json_object_get(root, key);
    return json_is_number(value) ? json_number_value(value) : missing;
}

static void begin_with_image(const json_t *root, const char *folder, struct weft_request *r,
                             char image[REQUEST_PATH])
{
    const char *name = json_string_value(json_object_get(root, "image"));
    if (!name)
        return;
    snprintf(image, REQUEST_PATH, "%.2000s/%.2000s", folder, name);
    r->image = image;
    r->fps_num = (int)number(root, "fps", 0);
    r->fps_den = 1;
    r->min_guidance_scale = number(root, "min_guidance_scale", -1);
    r->max_guidance_scale = number(root, "max_guidance_scale", -1);
    r->motion_bucket_id = (int)number(root, "motion_bucket_id", -1);
    r->noise_aug_strength = number(root, "noise_aug_strength", -1);
}

void request_of_case(const json_t *root, const char *folder, struct weft_request *r,
                     char image[REQUEST_PATH])
{
    begin_with_image(root, folder, r, image);
    r->prompt = json_string_value(json_object_get(root, "prompt"));
    r->negative_prompt = json_string_value(json_object_get(root, "negative_prompt"));
    r->width = (int)number(root, "width", 0);
    r->height = (int)number(root, "height", 0);
    r->num_frames = (int)number(root, "num_frames", 0);
    r->steps = (int)number(root, "steps", 0);
    r->guidance_scale = number(root, "guidance_scale", -1);
    r->flow_shift = number(root, "flow_shift", 0);
    r->max_sequence_length = (int)number(root, "max_sequence_length", 0);
    r->seed = (uint64_t)json_integer_value(json_object_get(root, "seed"));
    r->random_seed = 0;
}
