/* The options: one table that the parser, the help, the manual page and the completion are made
   from; and the parser. */
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/option.h"

#define AT(member) offsetof(struct cli, member)
#define G (unsigned)CLI_GENERATE
#define D (unsigned)CLI_DECODE
#define I (unsigned)CLI_INFO
#define C (unsigned)CLI_COMPARE
#define RARE CLI_RARE

static const struct cli_option options[] = {
    {"What to make", "prompt", 'p', PROMPT, G, AT(request.prompt), 0, 0, "TEXT",
     "what the clip shows; @FILE reads it from a file"},
    {NULL, "negative-prompt", 'n', PROMPT, G, AT(request.negative_prompt), 0, 0, "TEXT",
     "what to keep away from; @FILE too [empty]"},
    {NULL, "image", 'i', TEXT, G, AT(request.image), 0, 0, "FILE",
     "PNG or JPEG that the clip begins with (image-to-video models)"},
    {NULL, "fit", 0, CHOICE, G, AT(request.fit), 0, 0, "stretch|crop|pad",
     "what becomes of another aspect [stretch]"},
    {NULL, "width", 'W', INTEGER, G, AT(request.width), 1, 1e6, "N", "pixels [the model's]"},
    {NULL, "height", 'H', INTEGER, G, AT(request.height), 1, 1e6, "N", "pixels [the model's]"},
    {NULL, "num-frames", 'f', INTEGER, G, AT(request.num_frames), 1, 1e6, "N",
     "frames [the model's]"},
    {NULL, "fps", 0, RATE, G | D, AT(request.fps_num), 0, 0, "F",
     "frames a second: 16, 23.976, 30000/1001 [the model's]"},
    {NULL, "motion-bucket-id", 0, INTEGER, G, AT(request.motion_bucket_id), 0, 1e6, "N",
     "SVD: the higher, the more moves [127]"},
    {NULL, "noise-aug-strength", 0, NUMBER, G, AT(request.noise_aug_strength), 0, 1000, "F",
     "SVD: noise on the image: more moves, less like it [0.02]"},
    {"How", "steps", 0, INTEGER, G, AT(request.steps), 1, 1000, "N",
     "denoising steps [the model's]"},
    {NULL, "num-inference-steps", 0, INTEGER, G, AT(request.steps), 1, 1000, "N", NULL},
    {NULL, "guidance-scale", 0, NUMBER, G, AT(request.guidance_scale), 0, 1000, "F",
     "above 1: towards the prompt, at twice the work [the model's]"},
    {NULL, "min-guidance-scale", 0, NUMBER, G, AT(request.min_guidance_scale), 0, 1000, "F",
     "SVD: of the first frame [1]"},
    {NULL, "max-guidance-scale", 0, NUMBER, G, AT(request.max_guidance_scale), 0, 1000, "F",
     "SVD: of the last frame [3]"},
    {NULL, "flow-shift", 0, NUMBER, G | RARE, AT(request.flow_shift), 1e-6, 1e6, "F",
     "noise schedule [the model's]"},
    {NULL, "max-sequence-length", 0, INTEGER, G | RARE, AT(request.max_sequence_length), 1, 4096,
     "N", "rows of text that the denoiser sees [512]"},
    {NULL, "seed", 's', SEED, G, AT(request.seed), 0, 0, "N",
     "of torch's generator [random, printed]"},
    {NULL, "generator", 0, TEXT, G | RARE, AT(request.generator), 0, 0, "NAME",
     "cpu, or cuda: the noise as torch draws it there [cpu]"},
    {NULL, "num-videos", 0, INTEGER, G, AT(num_videos), 1, 10000, "N",
     "clips, of seeds s, s+1, ...; -o clip-%02d.y4m [1]"},
    {NULL, "jobs", 0, TEXT, G, AT(jobs), 0, 0, "FILE",
     "requests, one a line: {\"prompt\": \"a fox\", \"output\": \"a\"}"},
    {NULL, "like", 0, TEXT, G, AT(like), 0, 0, "CLIP",
     "repeat a clip's own request; options beside it change it"},
    {NULL, "latents", 0, TEXT, G | RARE, AT(request.latents), 0, 0, "FILE",
     "initial noise: safetensors, tensor `latents`, as a dump has"},
    {"Decoding", "decode-chunk-size", 0, INTEGER, G | D, AT(request.decode_chunk_size), 1, 1e6, "N",
     "frames decoded at a time [Wan: fewest, same pixels; SVD: all]"},
    {NULL, "chunk-overlap", 0, INTEGER, G | D, AT(request.chunk_overlap), 0, 1e6, "N",
     "frames that chunks share, blended [the model's; Wan: none]"},
    {NULL, "tiling", 0, CHOICE, G | D, AT(request.tiling), 0, 0, "auto|none|exact|blend",
     "auto: none where it fits, else exact: same pixels [auto]"},
    {NULL, "tile-size", 0, PAIR, G | D, AT(request.tile_width), 1, 1e6, "WxH",
     "pixels [exact: the largest that fits; blend: 256x256]"},
    {NULL, "tile-overlap", 0, PAIR, G | D, AT(request.tile_overlap_width), 0, 1e6, "WxH",
     "pixels that blended tiles share [64x64]"},
    {"Thresholds", "min-psnr", 0, NUMBER, C, AT(comparison.min_psnr), 0, 1000, "F",
     "dB, of the average as ffmpeg has it: at least [none]"},
    {NULL, "min-ssim", 0, NUMBER, C, AT(comparison.min_ssim), -1, 1, "F",
     "of the average: at least [none]"},
    {NULL, "max-abs", 0, INTEGER, C, AT(comparison.max_abs), 0, 255, "N",
     "difference of two samples, 0..255: at most [none]"},
    {"Where the clip's edges are", "tile-size", 0, PAIR, C, AT(comparison.tile_width), 1, 1e6,
     "WxH", "pixels, for the seam score [what the clip says, if it does]"},
    {NULL, "tile-overlap", 0, PAIR, C, AT(comparison.tile_overlap_width), 0, 1e6, "WxH",
     "pixels that tiles share [0x0]"},
    {NULL, "decode-chunk-size", 0, INTEGER, C, AT(comparison.decode_chunk_size), 1, 1e6, "N",
     "for the chunk-edge score [what the clip says]"},
    {NULL, "chunk-overlap", 0, INTEGER, C, AT(comparison.chunk_overlap), 0, 1e6, "N",
     "frames that chunks share [0]"},
    {"Result", "report", 0, TEXT, C, AT(comparison.report), 0, 0, "FILE",
     ".html with plots and the worst frames, .json or .xml (JUnit)"},
    {NULL, "json", 0, FLAG, C, AT(json), 0, 0, NULL, "the result as JSON"},
    {NULL, "quiet", 'q', FLAG, C, AT(quiet), 0, 0, NULL,
     "print errors only; the exit status tells"},
    {"Machine", "device", 0, TEXT, G | D, AT(settings.device), 0, 0, "NAME",
     "cpu, cuda or cuda:1 [cuda where there is one, else cpu]"},
    {NULL, "dtype", 0, TEXT, G | D, AT(settings.dtype), 0, 0, "NAME",
     "f32, bf16, or vae=f32,transformer=bf16 [where fast: bf16]"},
    {NULL, "device-map", 0, TEXT, G | D | RARE, AT(settings.device_map), 0, 0, "MAP",
     "e.g. vae=cpu,transformer=cpu: weights stay there"},
    {NULL, "threads", 0, INTEGER, G | D, AT(settings.threads), 1, 4096, "N",
     "[OMP_NUM_THREADS, else the cores that are free to use]"},
    {NULL, "offload", 0, CHOICE, G | D, AT(offload), 0, 0, "auto|none|model|group|sequential",
     "which weights are held at a time [model]"},
    {NULL, "memory-limit", 0, SIZE, G | D, AT(settings.memory_limit), 0, 0, "SIZE",
     "e.g. 12GiB; a run that needs more is refused [what is free]"},
    {NULL, "offload-blocks", 0, INTEGER, G | D | RARE, AT(settings.offload_blocks), 1, 1024, "N",
     "blocks that group holds together [1]"},
    {NULL, "variant", 0, TEXT, G | D | I, AT(variant), 0, 0, "NAME",
     "weight files with that word in their name, e.g. fp16"},
    {"Output", "output", 'o', TEXT, G | D, AT(output.path), 0, 0, "FILE",
     "- is standard output; png: frame-%05d.png"},
    {NULL, "format", 0, FORMAT, G | D, AT(output.format), 0, 0, "NAME", NULL},
    {NULL, "codec", 0, TEXT, G | D, AT(output.codec), 0, 0, "NAME",
     "ffmpeg's name of an encoder [libx264; webm libvpx-vp9]"},
    {NULL, "crf", 0, NUMBER, G | D, AT(output.crf), 0, 63, "F",
     "quality, lower is better [18; vp9, av1 31]"},
    {NULL, "preset", 0, TEXT, G | D | RARE, AT(output.preset), 0, 0, "NAME",
     "the encoder's speed [medium]"},
    {NULL, "pix-fmt", 0, TEXT, G | D | RARE, AT(output.pix_fmt), 0, 0, "NAME", "[yuv420p]"},
    {NULL, "overwrite", 'y', SWITCH, G | D, AT(output.overwrite), 0, 0, NULL,
     "replace an existing file"},
    {NULL, "no-metadata", 0, SWITCH, G | D | RARE, AT(output.no_metadata), 0, 0, NULL,
     "the file does not say how it was made"},
    {NULL, "dump", 0, TEXT, G | RARE, AT(request.dump), 0, 0, "DIR",
     "write embeddings and the latents of each step there"},
    {NULL, "resume", 0, TEXT, G, AT(request.resume), 0, 0, "DIR",
     "keep each step there; the same line goes on after a kill"},
    {NULL, "preview", 0, TEXT, G | RARE, AT(request.preview), 0, 0, "FILE",
     "PNG of the current guess of some frames, after each step"},
    {NULL, "report", 0, TEXT, G | D, AT(report), 0, 0, "FILE",
     "write what each stage took and what the encoder made, JSON"},
    {NULL, "plan", 0, FLAG, G | D, AT(plan), 0, 0, NULL,
     "print the predicted time, work and memory; make nothing"},
    {NULL, "json", 0, FLAG, G | D | I, AT(json), 0, 0, NULL, "info, plan: the result as JSON"},
    {"Messages", "progress", 0, CHOICE, G | D, AT(progress), 0, 0, "auto|bar|plain|json|none",
     "on standard error [auto]"},
    {NULL, "quiet", 'q', FLAG, G | D, AT(quiet), 0, 0, NULL, "errors only"},
    {NULL, "verbose", 'v', FLAG, G | D, AT(verbose), 0, 0, NULL,
     "what is run, and how long it took"},
    {NULL, "help", 'h', FLAG, G | D | I | C, AT(help), 0, 0, NULL, "this text"},
};

enum { OPTIONS = sizeof options / sizeof *options, FIRST_LONG = 1000 };

const struct cli_option *cli_options(int *count)
{
    *count = OPTIONS;
    return options;
}

static void fill_getopt(const struct cli_verb *verb, struct option *longs, char *shorts)
{
    *shorts++ = '-'; /* options and words in any order, whatever POSIXLY_CORRECT says */
    *shorts++ = ':';
    for (int i = 0; i < OPTIONS; i++) {
        const struct cli_option *s = &options[i];
        if (!(s->verbs & verb->bit))
            continue;
        const int has = cli_is_flag(s) ? no_argument : required_argument;
        *longs++ = (struct option){s->name, has, NULL, FIRST_LONG + i};
        if (s->letter) {
            *shorts++ = (char)s->letter;
            if (has == required_argument)
                *shorts++ = ':';
        }
    }
    *longs = (struct option){0};
    *shorts = '\0';
}

static const struct cli_option *find_option(int code, const struct cli_verb *verb)
{
    if (code >= FIRST_LONG)
        return &options[code - FIRST_LONG];
    for (int i = 0; i < OPTIONS; i++) {
        if (options[i].letter == code && (options[i].verbs & verb->bit))
            return &options[i];
    }
    return NULL;
}

static int refuse_usage(int code, char **argv)
{
    const char *word = argv[optind - 1];
    if (code == ':')
        cli_say("usage: %s needs a value; see --help", word);
    else if (optopt && optopt < FIRST_LONG)
        cli_say("usage: -%c is not an option; see --help", optopt);
    else
        cli_say("usage: %s is not an option, or stands for several; see --help", word);
    return CLI_REFUSED;
}

static void add_word(struct cli *cli, const char *word)
{
    if (cli->words < CLI_WORDS)
        cli->word[cli->words++] = word;
}

static int parse_options(struct cli *cli, int argc, char **argv)
{
    struct option longs[OPTIONS + 1];
    char shorts[2 * OPTIONS + 3];
    fill_getopt(cli->verb, longs, shorts);
    optind = 0; /* glibc's getopt begins anew, whatever word it was in before */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (code == 1) {
            add_word(cli, optarg);
            continue;
        }
        const struct cli_option *s =
            code == '?' || code == ':' ? NULL : find_option(code, cli->verb);
        if (!s)
            return refuse_usage(code, argv);
        if (cli_set_value(cli, s, optarg) != CLI_OK)
            return CLI_REFUSED;
    }
    while (optind < argc) /* behind a -- */
        add_word(cli, argv[optind++]);
    return CLI_OK;
}

int cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
    *cli = (struct cli){.verb = verb, .offload = CLI_NOT_GIVEN};
    weft_settings_defaults(&cli->settings);
    cli->settings.log = cli_log;
    cli->settings.log_context = cli;
    weft_output_defaults(&cli->output);
    weft_comparison_defaults(&cli->comparison);
    weft_request_open(&cli->request);
    if (parse_options(cli, argc, argv) != CLI_OK)
        return CLI_REFUSED;
    if (cli->help)
        return CLI_OK;
    static const enum weft_offload offloads[] = {WEFT_OFFLOAD_AUTO, WEFT_OFFLOAD_NONE,
                                                 WEFT_OFFLOAD_MODEL, WEFT_OFFLOAD_GROUP,
                                                 WEFT_OFFLOAD_SEQUENTIAL};
    if (cli->offload != CLI_NOT_GIVEN)
        cli->settings.offload = offloads[cli->offload];
    if (cli->quiet)
        cli->progress = CLI_PROGRESS_NONE;
    cli->settings.profile = cli->verbose;
    if (cli_check_words(cli) != CLI_OK)
        return CLI_REFUSED;
    return cli->jobs ? cli_check_jobs(cli) : cli_check(cli);
}

/* What is the engine's, and the batch's own, is the same for all of its requests. */
static bool is_shared(const struct cli_option *s)
{
    const size_t engine = AT(settings), behind = engine + sizeof(struct weft_settings);
    const size_t others[] = {AT(offload),  AT(variant), AT(jobs),    AT(plan), AT(json),
                             AT(progress), AT(quiet),   AT(verbose), AT(help)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (s->offset == others[i])
            return true;
    }
    return s->offset >= engine && s->offset < behind;
}

int cli_set(struct cli *cli, const char *name, const char *value)
{
    for (int i = 0; i < OPTIONS; i++) {
        const struct cli_option *s = &options[i];
        if (strcmp(s->name, name) != 0 || !(s->verbs & cli->verb->bit))
            continue;
        if (!value && !cli_is_flag(s)) {
            cli_say("%s: true is no value of it; give a text or a number", name);
            return CLI_REFUSED;
        }
        if (!is_shared(s))
            return cli_set_value(cli, s, value);
        cli_say("%s: is the same for all requests of a batch; give it on the command line", name);
        return CLI_REFUSED;
    }
    cli_say("%s: is not an option; see --help", name);
    return CLI_REFUSED;
}

void cli_close(struct cli *cli)
{
    weft_recipe_close(&cli->recipe);
    free(cli->prompt_text);
    free(cli->negative_text);
}
