/* engine/sampler against diffusers' schedulers: tests/fixtures/vectors/schedulers.json holds tables
   and the path of a vector under a velocity that is a formula. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/sampler/sampler.h"

/* A flow's sigmas are 1 at most; EulerDiscrete's are from a thousandth to thousands. */
static const double sigma_bound = 1.2e-7, path_bound = 1e-5, euler_bound = 1e-6;
enum { VALUES = 8 };

struct fixture {
    json_t *vectors;
    char folder[64], path[128];
    struct wf_mem *mem;
    struct wf_backend *be;
    struct wf_error err;
    struct wf_sampler *sampler;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const char *source = getenv("WEFT_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/fixtures/vectors/schedulers.json", source ? source : ".");
    json_error_t error;
    f->vectors = json_load_file(path, 0, &error);
    assert_non_null(f->vectors);
    strcpy(f->folder, "/tmp/weft-sampler-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/scheduler_config.json", f->folder);
    f->mem = wf_mem_open();
    assert_non_null(f->mem);
    assert_int_equal(wf_backend_open("ref", NULL, 1, f->mem, NULL, &f->err, &f->be), WF_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wf_sampler_close(&f->sampler);
    wf_backend_close(&f->be);
    assert_int_equal(wf_mem_live_all(f->mem), 0);
    wf_mem_close(&f->mem);
    unlink(f->path);
    rmdir(f->folder);
    json_decref(f->vectors);
    free(f);
    return 0;
}

static json_t *config_of(const char *kind, double shift)
{
    if (strcmp(kind, "euler_discrete") == 0)
        return json_pack("{s:s, s:i}", "_class_name", "EulerDiscreteScheduler",
                         "num_train_timesteps", 1000);
    if (strcmp(kind, "euler") == 0)
        return json_pack("{s:s, s:i, s:f}", "_class_name", "FlowMatchEulerDiscreteScheduler",
                         "num_train_timesteps", 1000, "shift", shift);
    return json_pack("{s:s, s:i, s:s, s:b, s:f}", "_class_name", "UniPCMultistepScheduler",
                     "num_train_timesteps", 1000, "prediction_type", "flow_prediction",
                     "use_flow_sigmas", 1, "flow_shift", shift);
}

/* class_name: the index's, or NULL; unused: room for the keys that are not, or NULL. */
static enum wf_status open_as(struct fixture *f, const json_t *config, const char *class_name,
                              double flow_shift, char unused[256])
{
    struct wf_json json = {0};
    wf_sampler_close(&f->sampler);
    assert_int_equal(json_dump_file(config, f->path, 0), 0);
    assert_int_equal(wf_json_open(f->path, &json, &f->err), WF_OK);
    const enum wf_status status =
        wf_sampler_open(&json, class_name, flow_shift, f->mem, &f->sampler, &f->err);
    if (status == WF_OK && unused)
        wf_sampler_unused(f->sampler, &json, unused, 256);
    wf_json_close(&json);
    return status;
}

static enum wf_status open_config(struct fixture *f, const json_t *config, double flow_shift)
{
    return open_as(f, config, NULL, flow_shift, NULL);
}

/* What an entry says beside scheduler, shift, steps and results are settings of the file. */
static enum wf_status open_entry(struct fixture *f, const json_t *entry)
{
    static const char *const ours[] = {"scheduler", "shift",     "steps",     "sigmas",
                                       "after",     "timesteps", "init_sigma"};
    json_t *extra = json_copy((json_t *)(uintptr_t)entry);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        json_object_del(extra, ours[i]);
    json_t *config = config_of(json_string_value(json_object_get(entry, "scheduler")),
                               json_number_value(json_object_get(entry, "shift")));
    assert_non_null(config);
    json_object_update(config, extra);
    const enum wf_status status = open_config(f, config, 0);
    json_decref(config);
    json_decref(extra);
    return status;
}

static int steps_of(const json_t *entry)
{
    return (int)json_integer_value(json_object_get(entry, "steps"));
}

static double number_at(const json_t *array, int index)
{
    return json_number_value(json_array_get(array, (size_t)index));
}

static bool is_discrete(const json_t *entry)
{
    return strcmp(json_string_value(json_object_get(entry, "scheduler")), "euler_discrete") == 0;
}

static void fail_entry(const json_t *entry, const char *what, int step, double found, double want)
{
    char *text = json_dumps(entry, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fail_msg("%.200s: %s %d is %.9g, diffusers has %.9g", text, what, step, found, want);
}

/* How far a value may be from diffusers'. */
static double bound_of(const json_t *entry, double want, double flow_bound)
{
    return is_discrete(entry) ? want * euler_bound : flow_bound;
}

static void check_table(struct fixture *f, const json_t *entry)
{
    const int steps = steps_of(entry);
    const json_t *sigmas = json_object_get(entry, "sigmas");
    const json_t *times = json_object_get(entry, "timesteps");
    for (int k = 0; k <= steps; k++) {
        const double found = (double)wf_sampler_sigma(f->sampler, k), want = number_at(sigmas, k);
        if (!(fabs(found - want) <= bound_of(entry, want, sigma_bound)))
            fail_entry(entry, "sigma", k, found, want);
    }
    for (int k = 0; k < steps; k++) {
        const double found = wf_sampler_timestep(f->sampler, k), want = number_at(times, k);
        const double size = fmax(1, fabs(want));
        if (!(fabs(found - want) <= bound_of(entry, size, fabs(want) * sigma_bound)))
            fail_entry(entry, "timestep", k, found, want);
    }
    const json_t *init = json_object_get(entry, "init_sigma");
    const double found = wf_sampler_init_sigma(f->sampler),
                 want = init ? json_number_value(init) : 1;
    if (!(fabs(found - want) <= bound_of(entry, want, 0)))
        fail_entry(entry, "init_sigma", 0, found, want);
}

static void tables_are_diffusers(void **state)
{
    struct fixture *f = *state;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(f->vectors, "tables"), i, entry)
    {
        assert_int_equal(open_entry(f, entry), WF_OK);
        assert_int_equal(wf_sampler_prepare(f->sampler, steps_of(entry), &f->err), WF_OK);
        assert_int_equal(wf_sampler_steps(f->sampler), steps_of(entry));
        check_table(f, entry);
    }
    assert_true(i > 200);
}

/* The steps of one path; the vectors give the prediction as a formula of what the network is
   given and the step. */
static void follow(struct fixture *f, const json_t *entry)
{
    const int steps = steps_of(entry);
    float x[VALUES], v[VALUES];
    const struct wf_tensor latents = wf_tensor_of(x, WF_F32, 4, (const int64_t[]){1, 2, 2, 2});
    const struct wf_tensor prediction = wf_tensor_of(v, WF_F32, 4, latents.dim);
    const double bound = is_discrete(entry) ? euler_bound : path_bound;
    const float noise = (float)wf_sampler_init_sigma(f->sampler);
    for (int j = 0; j < VALUES; j++)
        x[j] = (float)number_at(json_object_get(f->vectors, "x"), j) * noise;
    for (int i = 0; i < steps; i++) {
        const float lift = (float)(0.1 * sin(7.0 * i / steps));
        const float scale = (float)wf_sampler_input_scale(f->sampler, i);
        for (int j = 0; j < VALUES; j++)
            v[j] = 0.3f * (scale * x[j]) + lift;
        assert_int_equal(wf_sampler_step(f->sampler, f->be, i, prediction, latents), WF_OK);
        const json_t *want = json_array_get(json_object_get(entry, "after"), (size_t)i);
        double error = 0, norm = 0;
        for (int j = 0; j < VALUES; j++) {
            error += pow((double)x[j] - number_at(want, j), 2);
            norm += pow(number_at(want, j), 2);
        }
        if (!(sqrt(error) <= bound * sqrt(norm)))
            fail_entry(entry, "error of step", i, sqrt(error / norm), 0);
    }
}

static bool same_settings(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"scheduler", "solver_order", "solver_type",
                                       "lower_order_final", "final_sigmas_type"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
            return false;
    }
    return true;
}

/* Some number of steps makes diffusers' path infinite or NaN with these settings. */
static bool can_be_not_finite(const struct fixture *f, const json_t *entry)
{
    size_t i;
    json_t *bad;
    json_array_foreach(json_object_get(f->vectors, "not_finite"), i, bad)
    {
        if (same_settings(bad, entry))
            return true;
    }
    return false;
}

static void paths_are_diffusers(void **state)
{
    struct fixture *f = *state;
    size_t i;
    int followed = 0;
    json_t *entry;
    json_array_foreach(json_object_get(f->vectors, "trajectories"), i, entry)
    {
        if (can_be_not_finite(f, entry))
            continue;
        assert_int_equal(open_entry(f, entry), WF_OK);
        assert_int_equal(wf_sampler_prepare(f->sampler, steps_of(entry), &f->err), WF_OK);
        follow(f, entry);
        /* Prepared once more, it has forgotten the steps before. */
        assert_int_equal(wf_sampler_prepare(f->sampler, steps_of(entry), &f->err), WF_OK);
        follow(f, entry);
        followed++;
    }
    assert_true(followed > 140);
}

static void settings_without_a_finite_path_are_refused(void **state)
{
    struct fixture *f = *state;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(f->vectors, "not_finite"), i, entry)
    {
        f->err.text[0] = '\0';
        if (open_entry(f, entry) != WF_REFUSED)
            fail_entry(entry, "status", 0, WF_OK, WF_REFUSED);
        assert_non_null(strstr(f->err.text, f->path));
        assert_null(f->sampler);
    }
    assert_true(i > 20);
}

static void flow_shift_of_the_request_comes_first(void **state)
{
    struct fixture *f = *state;
    static const char *const kinds[] = {"unipc", "euler"};
    for (int kind = 0; kind < 2; kind++) {
        json_t *config = config_of(kinds[kind], 3), *other = config_of(kinds[kind], 7);
        float sigma[5];
        assert_int_equal(open_config(f, other, 0), WF_OK);
        assert_int_equal(wf_sampler_prepare(f->sampler, 4, &f->err), WF_OK);
        for (int k = 0; k < 5; k++)
            sigma[k] = wf_sampler_sigma(f->sampler, k);
        assert_int_equal(open_config(f, config, 7), WF_OK);
        assert_int_equal(wf_sampler_prepare(f->sampler, 4, &f->err), WF_OK);
        for (int k = 0; k < 5; k++)
            assert_true(sigma[k] == wf_sampler_sigma(f->sampler, k));
        json_decref(config);
        json_decref(other);
    }
}

/* What diffusers 0.42 makes of a file that another class wrote. */
static void the_class_of_the_index_reads_the_file_of_another(void **state)
{
    struct fixture *f = *state;
    static const float euler[] = {1, 0.6669999957084656f, 0.33399999141693115f,
                                  0.0010000000474974513f, 0};
    static const float unipc[] = {0.9999989867210388f, 0.9375780820846558f, 0.8336109519004822f,
                                  0.6259360909461975f, 0};
    char unused[256];
    json_t *config = config_of("unipc", 3);
    assert_int_equal(open_as(f, config, "FlowMatchEulerDiscreteScheduler", 0, unused), WF_OK);
    assert_string_equal(wf_sampler_class(f->sampler), "FlowMatchEulerDiscreteScheduler");
    assert_string_equal(unused, "prediction_type, use_flow_sigmas, flow_shift");
    assert_int_equal(wf_sampler_prepare(f->sampler, 4, &f->err), WF_OK);
    for (int i = 0; i <= 4; i++)
        assert_true(fabsf(wf_sampler_sigma(f->sampler, i) - euler[i]) <= 1e-6f);
    assert_int_equal(open_as(f, config, "UniPCMultistepScheduler", 0, unused), WF_OK);
    assert_string_equal(unused, "");
    assert_int_equal(open_as(f, config, "DDIMScheduler", 0, unused), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "DDIMScheduler is not known; weft knows UniPC"));
    json_decref(config);
    config = config_of("euler", 3);
    assert_int_equal(open_as(f, config, "UniPCMultistepScheduler", 0, unused), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "use_flow_sigmas")); /* off by the class's default */
    json_object_set_new(config, "use_flow_sigmas", json_true());
    json_object_set_new(config, "prediction_type", json_string("flow_prediction"));
    json_object_set_new(config, "flow_shift", json_real(5));
    assert_int_equal(open_as(f, config, "UniPCMultistepScheduler", 0, unused), WF_OK);
    assert_string_equal(unused, "shift");
    assert_int_equal(wf_sampler_prepare(f->sampler, 4, &f->err), WF_OK);
    for (int i = 0; i <= 4; i++)
        assert_true(fabsf(wf_sampler_sigma(f->sampler, i) - unipc[i]) <= 1e-6f);
    json_decref(config);
}

/* Training has 1000 timesteps where the file does not say. */
static void settings_that_are_missing_have_the_classes_defaults(void **state)
{
    struct fixture *f = *state;
    static const char *const kinds[] = {"unipc", "euler"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        float sigma[7];
        double timestep[6];
        json_t *config = config_of(kinds[i], 3);
        for (int missing = 0; missing < 2; missing++) {
            assert_int_equal(open_config(f, config, 0), WF_OK);
            assert_int_equal(wf_sampler_prepare(f->sampler, 6, &f->err), WF_OK);
            for (int k = 0; k < 6; k++) {
                assert_true(!missing || timestep[k] == wf_sampler_timestep(f->sampler, k));
                assert_true(!missing || sigma[k] == wf_sampler_sigma(f->sampler, k));
                timestep[k] = wf_sampler_timestep(f->sampler, k);
                sigma[k] = wf_sampler_sigma(f->sampler, k);
            }
            assert_int_equal(json_object_del(config, "num_train_timesteps"), missing ? -1 : 0);
        }
        json_decref(config);
    }
}

static void unknown_settings_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *kind, *setting, *word; /* that the message has */
    } cases[] = {
        {"unipc", "{\"_class_name\": \"DDIMScheduler\"}", "DDIMScheduler"},
        {"unipc", "{\"_class_name\": 3}", "_class_name"},
        {"unipc", "{\"_class_name\": null}", "_class_name"},
        {"unipc", "{\"prediction_type\": \"epsilon\"}", "prediction_type"},
        {"unipc", "{\"use_flow_sigmas\": false}", "use_flow_sigmas"},
        {"unipc", "{\"predict_x0\": false}", "predict_x0"},
        {"unipc", "{\"thresholding\": true}", "thresholding"},
        {"unipc", "{\"use_karras_sigmas\": true}", "use_karras_sigmas"},
        {"unipc", "{\"use_dynamic_shifting\": true}", "use_dynamic_shifting"},
        {"unipc", "{\"solver_order\": 4}", "solver_order"},
        {"unipc", "{\"solver_order\": 0}", "solver_order"},
        {"unipc", "{\"solver_type\": \"bh3\"}", "solver_type"},
        {"unipc", "{\"solver_p\": {}}", "solver_p"},
        {"unipc", "{\"final_sigmas_type\": \"one\"}", "final_sigmas_type"},
        {"unipc", "{\"flow_shift\": 0}", "flow_shift"},
        {"unipc", "{\"flow_shift\": \"3\"}", "flow_shift"},
        {"unipc", "{\"num_train_timesteps\": 0}", "num_train_timesteps"},
        {"unipc", "{\"shift_terminal\": 1}", "shift_terminal"},
        {"euler", "{\"shift\": -1}", "shift"},
        {"euler", "{\"use_dynamic_shifting\": true}", "use_dynamic_shifting"},
        {"euler", "{\"stochastic_sampling\": true}", "stochastic_sampling"},
        {"euler", "{\"invert_sigmas\": true}", "invert_sigmas"},
        {"euler", "{\"use_beta_sigmas\": true}", "use_beta_sigmas"},
        {"euler_discrete", "{\"use_beta_sigmas\": true}", "use_beta_sigmas"},
        {"euler_discrete", "{\"use_karras_sigmas\": true, \"use_exponential_sigmas\": true}",
         "use_exponential_sigmas"},
        {"euler_discrete", "{\"use_karras_sigmas\": 1}", "use_karras_sigmas"},
        {"euler_discrete", "{\"prediction_type\": \"flow_prediction\"}",
         "flow_prediction; weft knows epsilon, v_prediction, sample"},
        {"euler_discrete", "{\"timestep_spacing\": \"even\"}", "timestep_spacing"},
        {"euler_discrete", "{\"timestep_type\": \"ordered\"}", "timestep_type"},
        {"euler_discrete", "{\"interpolation_type\": \"cubic\"}", "interpolation_type"},
        {"euler_discrete", "{\"final_sigmas_type\": \"one\"}", "final_sigmas_type"},
        {"euler_discrete", "{\"final_sigmas_type\": 0}", "final_sigmas_type"},
        {"euler_discrete", "{\"steps_offset\": -1}", "steps_offset"},
        {"euler_discrete", "{\"steps_offset\": 1000}", "steps_offset"},
        {"euler_discrete", "{\"sigma_min\": 0}", "sigma_min"},
        {"euler_discrete", "{\"sigma_min\": \"NaN\"}", "sigma_min"},
        {"euler_discrete", "{\"sigma_max\": -700}", "sigma_max"},
        {"euler_discrete", "{\"sigma_max\": 1e300}", "sigma_max"},
        {"euler_discrete", "{\"sigma_min\": 700, \"sigma_max\": 0.002}", "sigma_max"},
        {"euler_discrete", "{\"num_train_timesteps\": 1}", "num_train_timesteps"},
        {"euler_discrete", "{\"beta_schedule\": \"cubic\"}", "beta_schedule"},
        {"euler_discrete", "{\"beta_start\": 0}", "beta_start"},
        {"euler_discrete", "{\"beta_end\": 1}", "betas"},
        {"euler_discrete", "{\"beta_start\": 1e-9}", "betas"},
        {"euler_discrete", "{\"trained_betas\": [0.1, 0.2]}", "trained_betas"},
        {"euler_discrete", "{\"trained_betas\": 0.1}", "trained_betas"},
        {"euler_discrete", "{\"num_train_timesteps\": 2, \"trained_betas\": [0.1, -0.2]}",
         "trained_betas"},
        {"euler_discrete", "{\"num_train_timesteps\": 2, \"trained_betas\": [0.1, 0.2, 0.3]}",
         "trained_betas"},
        {"euler_discrete", "{\"rescale_betas_zero_snr\": \"yes\"}", "rescale_betas_zero_snr"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_error_t error;
        json_t *config = config_of(cases[i].kind, 3);
        json_t *setting = json_loads(cases[i].setting, 0, &error);
        assert_non_null(setting);
        json_object_update(config, setting);
        if (open_config(f, config, 0) != WF_REFUSED)
            fail_msg("%s %s is not refused", cases[i].kind, cases[i].setting);
        assert_non_null(strstr(f->err.text, cases[i].word));
        json_decref(setting);
        json_decref(config);
    }
}

/* Stable Video Diffusion's file. */
static json_t *svd_config(void)
{
    return json_pack("{s:s, s:i, s:s, s:s, s:b, s:f, s:f, s:s, s:i, s:s, s:f, s:f}", "_class_name",
                     "EulerDiscreteScheduler", "num_train_timesteps", 1000, "beta_schedule",
                     "scaled_linear", "prediction_type", "v_prediction", "use_karras_sigmas", 1,
                     "sigma_min", 0.002, "sigma_max", 700.0, "timestep_spacing", "leading",
                     "steps_offset", 1, "timestep_type", "continuous", "beta_start", 0.00085,
                     "beta_end", 0.012);
}

static void stable_video_diffusions_numbers(void **state)
{
    struct fixture *f = *state;
    json_t *config = svd_config();
    assert_int_equal(open_config(f, config, 0), WF_OK);
    assert_int_equal(wf_sampler_prediction(f->sampler), WF_PREDICT_V);
    assert_int_equal(wf_sampler_prepare(f->sampler, 25, &f->err), WF_OK);
    assert_true(fabs((double)wf_sampler_sigma(f->sampler, 1) - 545.72925) < 1e-4);
    assert_true(fabs((double)wf_sampler_sigma(f->sampler, 24) - 0.002) < 1e-9);
    assert_true(wf_sampler_sigma(f->sampler, 25) == 0);
    assert_true(fabs(wf_sampler_timestep(f->sampler, 0) - 1.637770) < 1e-6);
    assert_true(fabs(wf_sampler_timestep(f->sampler, 24) + 1.553652) < 1e-6);
    assert_true(fabs(wf_sampler_init_sigma(f->sampler) - sqrt(490001)) < 1e-9);
    assert_true(fabs(wf_sampler_input_scale(f->sampler, 0) - 1 / sqrt(490001)) < 1e-15);
    assert_int_equal(wf_sampler_prepare(f->sampler, 1, &f->err), WF_OK);
    assert_true(fabsf(wf_sampler_sigma(f->sampler, 0) - 700) < 1e-3f);
    assert_true(wf_sampler_sigma(f->sampler, 1) == 0);
    json_decref(config);
}

static void each_class_says_what_its_network_gives(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *kind, *prediction;
        enum wf_prediction expected;
    } cases[] = {{"unipc", "flow_prediction", WF_PREDICT_FLOW},
                 {"euler", NULL, WF_PREDICT_FLOW},
                 {"euler_discrete", NULL, WF_PREDICT_EPSILON},
                 {"euler_discrete", "epsilon", WF_PREDICT_EPSILON},
                 {"euler_discrete", "v_prediction", WF_PREDICT_V},
                 {"euler_discrete", "sample", WF_PREDICT_SAMPLE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config = config_of(cases[i].kind, 3);
        if (cases[i].prediction)
            json_object_set_new(config, "prediction_type", json_string(cases[i].prediction));
        assert_int_equal(open_config(f, config, 0), WF_OK);
        assert_int_equal(wf_sampler_prediction(f->sampler), cases[i].expected);
        json_decref(config);
    }
}

static void a_shift_is_refused_where_there_is_none(void **state)
{
    struct fixture *f = *state;
    char unused[256];
    json_t *config = svd_config();
    assert_int_equal(open_config(f, config, 5), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "flow-shift: EulerDiscreteScheduler has no shift"));
    assert_null(f->sampler);
    json_object_set_new(config, "rho", json_real(5));
    json_object_set_new(config, "shift_terminal", json_real(0.1));
    assert_int_equal(open_as(f, config, NULL, 0, unused), WF_OK);
    assert_string_equal(unused, "rho, shift_terminal");
    json_decref(config);
}

/* A bound of the file above what the timesteps of so few steps reach. */
static void noise_that_rises_is_refused(void **state)
{
    struct fixture *f = *state;
    json_t *config = svd_config();
    json_object_del(config, "sigma_max");
    json_object_set_new(config, "sigma_min", json_real(2));
    assert_int_equal(open_config(f, config, 0), WF_OK);
    assert_int_equal(wf_sampler_prepare(f->sampler, 2, &f->err), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "sigma_min"));
    assert_int_equal(wf_sampler_prepare(f->sampler, 25, &f->err), WF_OK);
    json_decref(config);
}

/* UniPC divides by the way from step to step: sigmas that f32 does not tell apart have none. */
static void steps_of_one_noise_are_refused(void **state)
{
    struct fixture *f = *state;
    json_t *config = config_of("unipc", 1e-6);
    json_object_set_new(config, "shift_terminal", json_real(0.5));
    json_object_set_new(config, "num_train_timesteps", json_integer(2));
    assert_int_equal(open_config(f, config, 0), WF_OK);
    assert_int_equal(wf_sampler_prepare(f->sampler, 30, &f->err), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "must fall"));
    json_decref(config);
}

/* A single step begins at sigma 1, of which a stretch to a terminal leaves 0 / 0, in diffusers too.
 */
static void noise_that_is_no_number_is_refused(void **state)
{
    struct fixture *f = *state;
    json_t *config = config_of("euler", 7);
    json_object_set_new(config, "shift_terminal", json_real(0.02));
    assert_int_equal(open_config(f, config, 0), WF_OK);
    assert_int_equal(wf_sampler_prepare(f->sampler, 1, &f->err), WF_REFUSED);
    assert_non_null(strstr(f->err.text, "another number of steps"));
    assert_int_equal(wf_sampler_prepare(f->sampler, 2, &f->err), WF_OK);
    json_decref(config);
}

static void memory_that_is_short_is_an_error(void **state)
{
    struct fixture *f = *state;
    json_t *config = svd_config();
    for (long nth = 1; nth <= 2; nth++) { /* its struct; the training's sigmas */
        wf_mem_fail_at(f->mem, nth);
        assert_int_equal(open_config(f, config, 0), WF_FAILED);
        assert_null(f->sampler);
    }
    wf_mem_fail_at(f->mem, 0);
    assert_int_equal(open_config(f, config, 0), WF_OK);
    json_decref(config);
}

static void impossible_step_counts_are_refused(void **state)
{
    struct fixture *f = *state;
    json_t *config = config_of("unipc", 3);
    assert_int_equal(open_config(f, config, 0), WF_OK);
    json_decref(config);
    assert_int_equal(wf_sampler_prepare(f->sampler, 0, &f->err), WF_REFUSED);
    assert_int_equal(wf_sampler_prepare(f->sampler, 100000, &f->err), WF_REFUSED);
    assert_int_equal(wf_sampler_prepare(f->sampler, 1000, &f->err), WF_OK);
    for (int k = 0; k < 1000; k++) {
        assert_true(wf_sampler_sigma(f->sampler, k) > wf_sampler_sigma(f->sampler, k + 1));
        assert_true(isfinite(wf_sampler_timestep(f->sampler, k)));
    }
}

/* What the network gives of a clip and a noise, by enum wf_prediction's own words; and the latents.
 */
static float predicted(enum wf_prediction kind, double sigma, double clip, double noise,
                       float *latent)
{
    *latent = (float)(clip + sigma * noise);
    if (kind == WF_PREDICT_FLOW) {
        *latent = (float)((1 - sigma) * clip + sigma * noise);
        return (float)(noise - clip);
    }
    if (kind == WF_PREDICT_V)
        return (float)((noise - sigma * clip) / sqrt(sigma * sigma + 1));
    return (float)(kind == WF_PREDICT_EPSILON ? noise : clip);
}

static void check_estimate(struct fixture *f, json_t *config)
{
    enum { STEPS = 6 };
    assert_int_equal(open_config(f, config, 0), WF_OK);
    json_decref(config);
    assert_int_equal(wf_sampler_prepare(f->sampler, STEPS, &f->err), WF_OK);
    for (int step = 0; step < STEPS; step++) {
        const double sigma = (double)wf_sampler_sigma(f->sampler, step);
        float latents[VALUES], prediction[VALUES], clip[VALUES];
        for (int i = 0; i < VALUES; i++)
            prediction[i] = predicted(wf_sampler_prediction(f->sampler), sigma, 0.25 * i - 1,
                                      cos(i), &latents[i]);
        assert_int_equal(wf_sampler_estimate(f->sampler, f->be, step,
                                             wf_tensor_of(prediction, WF_F32, WF_DIMS(VALUES)),
                                             wf_tensor_of(latents, WF_F32, WF_DIMS(VALUES)),
                                             wf_tensor_of(clip, WF_F32, WF_DIMS(VALUES))),
                         WF_OK);
        for (int i = 0; i < VALUES; i++)
            assert_true(fabs((double)clip[i] - (0.25 * i - 1)) < 1e-6 * (1 + sigma));
    }
}

static void the_clip_is_estimated(void **state)
{
    static const char *const kinds[] = {"epsilon", "v_prediction", "sample"};
    struct fixture *f = *state;
    check_estimate(f, config_of("unipc", 3));
    check_estimate(f, config_of("euler", 3));
    for (int i = 0; i < 3; i++) {
        json_t *config = config_of("euler_discrete", 1);
        json_object_set_new(config, "prediction_type", json_string(kinds[i]));
        check_estimate(f, config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tables_are_diffusers, setup, teardown),
        cmocka_unit_test_setup_teardown(paths_are_diffusers, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_without_a_finite_path_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(flow_shift_of_the_request_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(the_class_of_the_index_reads_the_file_of_another, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(settings_that_are_missing_have_the_classes_defaults, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_settings_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(stable_video_diffusions_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(each_class_says_what_its_network_gives, setup, teardown),
        cmocka_unit_test_setup_teardown(the_clip_is_estimated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shift_is_refused_where_there_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_that_rises_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_of_one_noise_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_that_is_no_number_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_is_short_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_step_counts_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
