/* One clip beside another: figures, and whether they are within the thresholds. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "engine/cli/run.h"

/* --- text --- */

static void print_metric(const char *name, double average, double least, int64_t frame, int digits,
                         const char *unit)
{
    printf("%-20s", name);
    if (isinf(average))
        puts("identical");
    else if (isnan(average))
        puts("none, the picture is too small");
    else
        printf("%.*f%s, worst %.*f%s at frame %lld\n", digits, average, unit, digits, least, unit,
               (long long)frame);
}

static void print_score(const char *name, double score)
{
    if (score >= 0)
        printf("%-20s%.3f\n", name, score);
    else
        printf("%-20snot known\n", name);
}

static void print_text(const struct cli *cli, const struct weft_comparison_result *r)
{
    printf("%s against %s: %lld frames of %dx%d\n", cli->comparison.clip, cli->comparison.reference,
           (long long)r->frames, r->width, r->height);
    print_metric("PSNR", r->psnr, r->min_psnr, r->min_psnr_frame, 2, " dB");
    print_metric("SSIM", r->ssim, r->min_ssim, r->min_ssim_frame, 5, "");
    printf("%-20s%d of 255\n", "largest difference", r->max_abs);
    print_score("seam score", r->seam);
    print_score("chunk-edge score", r->chunk_edge);
    puts(r->pass ? "pass" : "FAIL: beyond a threshold");
}

/* --- JSON --- */

static json_t *metric_json(double average, double least, int64_t frame)
{
    return json_pack("{s:o, s:o, s:o}", "average",
                     isfinite(average) ? json_real(average) : json_null(), "min",
                     isfinite(least) ? json_real(least) : json_null(), "min_frame",
                     isfinite(least) ? json_integer((json_int_t)frame) : json_null());
}

static json_t *score_json(double score)
{
    return score >= 0 ? json_real(score) : json_null();
}

static bool print_json(const struct weft_comparison_result *r)
{
    json_t *root =
        json_pack("{s:o, s:o, s:i, s:o, s:o, s:I, s:b}", "psnr",
                  metric_json(r->psnr, r->min_psnr, r->min_psnr_frame), "ssim",
                  metric_json(r->ssim, r->min_ssim, r->min_ssim_frame), "max_abs", r->max_abs,
                  "seam", score_json(r->seam), "chunk_edge", score_json(r->chunk_edge), "frames",
                  (json_int_t)r->frames, "pass", r->pass);
    const int failed = !root || json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
    return !failed;
}

static int print(const struct cli *cli, const struct weft_comparison_result *r)
{
    bool printed = true;
    if (cli->json)
        printed = print_json(r);
    else if (!cli->quiet)
        print_text(cli, r);
    if (fflush(stdout) != 0 || !printed) {
        cli_say("standard output: the result could not be written");
        return CLI_FAILED;
    }
    return r->pass ? CLI_OK : CLI_BELOW;
}

/* A signal is heard between two frames: a report is whole or not there. */
static int on_frame(void *context, const struct weft_compared_frame *frame)
{
    cli_show_compared(context, frame);
    return cli_interrupted();
}

int cli_run_compare(struct cli *cli)
{
    struct weft_engine *engine = NULL;
    struct weft_comparison_result result;
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.device = "cpu"; /* nothing is computed on another */
    enum weft_status status = weft_engine_open(&settings, &engine);
    cli->comparison.frame = on_frame;
    cli->comparison.frame_context = cli;
    cli_catch_signals();
    cli_begin_progress(cli);
    if (status == WEFT_OK)
        status = weft_compare(engine, &cli->comparison, &result);
    cli_end_progress(cli);
    const struct cli_run run = {.cli = cli, .engine = engine};
    const int code = status == WEFT_OK ? print(cli, &result) : cli_exit_code(&run, status);
    weft_engine_close(&engine);
    return code;
}
