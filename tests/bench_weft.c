/* What tests/bench.sh measures of weft: in one process a clip of one step that is not measured,
   then one whose report is written. By then the weights lie in memory and the rooms have been
   taken, as they are for whoever makes clip after clip.

       bench_weft MODEL WIDTHxHEIGHTxFRAMES STEPS GUIDANCE THREADS DTYPE PROMPT REPORT

   Prints the line of the log that names the device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weft.h"

struct bench {
    struct weft_engine *engine;
    struct weft_model *model;
    struct weft_request request;
};

static void print_device(void *context, enum weft_log_level level, const char *line)
{
    (void)context;
    if (level == WEFT_LOG_WARNING)
        fprintf(stderr, "bench_weft: %s\n", line);
    else if (strncmp(line, "device: ", 8) == 0)
        printf("%s\n", line + 8);
}

/* One clip; report NULL: none. */
static enum weft_status make_clip(struct bench *b, int steps, const char *report)
{
    struct weft_job *job = NULL;
    struct weft_frame frame;
    b->request.steps = steps;
    enum weft_status status = weft_generate(b->model, &b->request, &job);
    do {
        if (status == WEFT_OK)
            status = weft_job_next(job, &frame);
    } while (status == WEFT_OK && frame.rgb);
    if (status == WEFT_OK && report)
        status = weft_job_report(job, NULL, report);
    weft_job_close(&job);
    return status;
}

static enum weft_status open_model(struct bench *b, char **argv)
{
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.threads = atoi(argv[5]);
    settings.dtype = argv[6];
    settings.offload = WEFT_OFFLOAD_NONE;
    settings.log = print_device;
    const enum weft_status status = weft_engine_open(&settings, &b->engine);
    return status == WEFT_OK ? weft_model_open(b->engine, argv[1], NULL, &b->model) : status;
}

static enum weft_status measure(struct bench *b, char **argv)
{
    const enum weft_status status = make_clip(b, 1, NULL);
    return status == WEFT_OK ? make_clip(b, atoi(argv[3]), argv[8]) : status;
}

static int read_request(struct weft_request *r, char **argv)
{
    r->prompt = argv[7];
    r->guidance_scale = atof(argv[4]);
    r->random_seed = 0;
    return sscanf(argv[2], "%dx%dx%d", &r->width, &r->height, &r->num_frames) == 3;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc != 9) {
        fputs("bench_weft MODEL WIDTHxHEIGHTxFRAMES STEPS GUIDANCE THREADS DTYPE PROMPT REPORT\n",
              stderr);
        return 2;
    }
    enum weft_status status = open_model(&b, argv);
    if (status == WEFT_OK) {
        weft_request_defaults(b.model, &b.request);
        status = read_request(&b.request, argv) ? measure(&b, argv) : WEFT_REFUSED;
    }
    if (status != WEFT_OK)
        fprintf(stderr, "bench_weft: %s\n", weft_engine_error(b.engine));
    weft_model_close(&b.model);
    weft_engine_close(&b.engine);
    return (int)status;
}
