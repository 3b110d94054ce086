/* Frames from a prompt to standard output, rgb24, one after the other as they are decoded:

       stream MODEL PROMPT [WIDTH HEIGHT FRAMES] |
           ffplay -f rawvideo -pixel_format rgb24 -video_size WIDTHxHEIGHT -

   Build with: cc stream.c $(pkg-config --cflags --libs weft) -lm */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <weft.h>

/* Samples are rounded half to even, as weft's own outputs do it. */
static int write_frame(const struct weft_frame *frame)
{
    const size_t count = (size_t)frame->width * (size_t)frame->height * 3;
    unsigned char *samples = malloc(count);
    if (!samples)
        return 0;
    for (size_t i = 0; i < count; i++)
        samples[i] = (unsigned char)lrintf(frame->rgb[i] * 255);
    const int whole = fwrite(samples, 1, count, stdout) == count;
    free(samples);
    return whole;
}

static enum weft_status stream(struct weft_model *model, const struct weft_request *request)
{
    struct weft_job *job = NULL;
    struct weft_frame frame;
    enum weft_status status = weft_generate(model, request, &job);
    while (status == WEFT_OK) {
        status = weft_job_next(job, &frame);
        if (status != WEFT_OK || !frame.rgb)
            break;
        if (!write_frame(&frame) || fflush(stdout) != 0) {
            perror("stream: standard output");
            exit(1);
        }
    }
    weft_job_close(&job);
    return status;
}

int main(int argc, char **argv)
{
    struct weft_engine *engine = NULL;
    struct weft_model *model = NULL;
    struct weft_request request;
    if (argc != 3 && argc != 6) {
        fprintf(stderr, "usage: stream MODEL PROMPT [WIDTH HEIGHT FRAMES]\n");
        return 2;
    }
    enum weft_status status = weft_engine_open(NULL, &engine);
    if (status == WEFT_OK)
        status = weft_model_open(engine, argv[1], NULL, &model);
    if (status == WEFT_OK) {
        weft_request_defaults(model, &request);
        request.prompt = argv[2];
        if (argc == 6) {
            request.width = atoi(argv[3]);
            request.height = atoi(argv[4]);
            request.num_frames = atoi(argv[5]);
        }
        status = stream(model, &request);
    }
    if (status != WEFT_OK)
        fprintf(stderr, "stream: %s\n", weft_engine_error(engine));
    weft_model_close(&model);
    weft_engine_close(&engine);
    return (int)status;
}
