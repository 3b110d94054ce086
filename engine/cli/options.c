/* The options: one table that the parser and the help are made from. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cli/cli.h"

enum kind { FLAG, TEXT, PROMPT, INTEGER, NUMBER, SEED, RATE, SIZE, PAIR, CHOICE };

enum { NOT_GIVEN = -1 };

struct spec {
    const char *group; /* a heading of the help, above the first of its options */
    const char *name;
    int letter; /* 0: none */
    enum kind kind;
    unsigned verbs; /* CLI_* that have it; and RARE: the short help leaves it out */
    size_t offset;  /* of the target in struct cli */
    double low, high;
    const char *argument; /* CHOICE: the words, with | between */
    const char *help;
};

#define AT(member) offsetof(struct cli, member)
#define G (unsigned)CLI_GENERATE
#define D (unsigned)CLI_DECODE
#define I (unsigned)CLI_INFO
#define C (unsigned)CLI_COMPARE
#define RARE 0x100u

static const struct spec specs[] = {
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
    {NULL, "format", 0, TEXT, G | D, AT(output.format), 0, 0, "NAME", NULL},
    {NULL, "codec", 0, TEXT, G | D, AT(output.codec), 0, 0, "NAME",
     "ffmpeg's name of an encoder [libx264; webm libvpx-vp9]"},
    {NULL, "crf", 0, NUMBER, G | D, AT(output.crf), 0, 63, "F",
     "quality, lower is better [18; vp9, av1 31]"},
    {NULL, "preset", 0, TEXT, G | D | RARE, AT(output.preset), 0, 0, "NAME",
     "the encoder's speed [medium]"},
    {NULL, "pix-fmt", 0, TEXT, G | D | RARE, AT(output.pix_fmt), 0, 0, "NAME", "[yuv420p]"},
    {NULL, "overwrite", 'y', FLAG, G | D, AT(output.overwrite), 0, 0, NULL,
     "replace an existing file"},
    {NULL, "no-metadata", 0, FLAG, G | D | RARE, AT(output.no_metadata), 0, 0, NULL,
     "the file does not say how it was made"},
    {NULL, "dump", 0, TEXT, G | RARE, AT(request.dump), 0, 0, "DIR",
     "write embeddings and the latents of each step there"},
    {NULL, "resume", 0, TEXT, G, AT(request.resume), 0, 0, "DIR",
     "keep each step there; the same line goes on after a kill"},
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

enum { SPECS = sizeof specs / sizeof *specs, FIRST_LONG = 1000 };

/* --- values --- */

static int refuse(const struct spec *s, const char *text)
{
    if (s->kind == CHOICE)
        cli_say("--%s: %s is not possible; choose %s", s->name, text, s->argument);
    else if (s->high > 0)
        cli_say("--%s: %s is not possible; choose %s from %.10g to %.10g", s->name, text,
                s->kind == INTEGER ? "a whole number" : "a number", s->low, s->high);
    else
        cli_say("--%s: %s is not possible; see --help", s->name, text);
    return CLI_REFUSED;
}

/* Not what strtod reads besides: white space, hexadecimal, nan and inf. */
static bool is_decimal(const char *text)
{
    return strspn(text, "+-.0123456789eE") == strlen(text);
}

static int parse_number(const struct spec *s, const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    const bool plain = end != text && !*end && is_decimal(text) && !errno;
    if (!plain || !isfinite(*value) || *value < s->low || *value > s->high ||
        (s->kind == INTEGER && *value != floor(*value)))
        return refuse(s, text);
    return CLI_OK;
}

static int parse_integer(const struct spec *s, const char *text, int *value)
{
    double number;
    if (strspn(text, "+-0123456789") != strlen(text))
        return refuse(s, text);
    if (parse_number(s, text, &number) != CLI_OK)
        return CLI_REFUSED;
    *value = (int)number;
    return CLI_OK;
}

static int parse_seed(const struct spec *s, const char *text, struct weft_request *request)
{
    char *end;
    errno = 0;
    const unsigned long long seed = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno) {
        cli_say("--%s: %s is not possible; choose a whole number from 0 to 18446744073709551615",
                s->name, text);
        return CLI_REFUSED;
    }
    request->seed = seed;
    request->random_seed = 0;
    return CLI_OK;
}

/* A number with a unit of bytes, or without. */
static int parse_size(const struct spec *s, const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1},          {"B", 1},
                 {"kB", 1e3},      {"KB", 1e3},
                 {"MB", 1e6},      {"GB", 1e9},
                 {"TB", 1e12},     {"K", 1024},
                 {"KiB", 1024},    {"M", 1 << 20},
                 {"MiB", 1 << 20}, {"G", 1 << 30},
                 {"GiB", 1 << 30}, {"TiB", 1099511627776.0}};
    char *unit;
    const double number = strtod(text, &unit);
    const size_t digits = (size_t)(unit - text);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const double size = number * units[i].bytes;
        if (digits && strspn(text, ".0123456789") == digits && size >= 1 && size < 9e18 &&
            strcmp(unit, units[i].name) == 0) {
            *bytes = (uint64_t)size;
            return CLI_OK;
        }
    }
    cli_say("--%s: %s is not possible; give bytes, or a number with MB, GB, MiB or GiB", s->name,
            text);
    return CLI_REFUSED;
}

/* WIDTHxHEIGHT, into two integers that lie in that order. */
static int parse_pair(const struct spec *s, const char *text, int pair[2])
{
    const char *at = text;
    long side[2] = {0};
    bool fits = true;
    for (int i = 0; i < 2 && fits; i++) {
        char *end;
        side[i] = strtol(at, &end, 10);
        fits = isdigit((unsigned char)*at) && *end == "x"[i] && (double)side[i] >= s->low &&
               (double)side[i] <= s->high;
        at = end + 1;
    }
    if (!fits) {
        cli_say("--%s: %s is not possible; give WIDTHxHEIGHT in pixels, each from %.10g to %.10g",
                s->name, text, s->low, s->high);
        return CLI_REFUSED;
    }
    pair[0] = (int)side[0];
    pair[1] = (int)side[1];
    return CLI_OK;
}

static int parse_rate(const struct spec *s, const char *text, struct weft_request *request)
{
    char *end;
    errno = 0;
    const char *slash = strchr(text, '/');
    if (slash) {
        const long num = strtol(text, &end, 10);
        const bool whole = end == slash && isdigit((unsigned char)*text);
        const long den = strtol(slash + 1, &end, 10);
        if (whole && !*end && isdigit((unsigned char)slash[1]) && !errno && num > 0 && den > 0 &&
            num <= 1000000 && den <= 1000000 && num * 1000 >= den && num <= den * 1000) {
            request->fps_num = (int)num;
            request->fps_den = (int)den;
            return CLI_OK;
        }
    } else {
        const double fps = strtod(text, &end);
        if (end != text && !*end && is_decimal(text) &&
            weft_rate_from_double(fps, &request->fps_num, &request->fps_den))
            return CLI_OK;
    }
    cli_say("--%s: %s is not possible; choose a rate such as 16, 23.976 or 30000/1001", s->name,
            text);
    return CLI_REFUSED;
}

static int parse_choice(const struct spec *s, const char *text, int *value)
{
    const size_t length = strlen(text);
    int index = 0;
    for (const char *word = s->argument; word; index++) {
        const char *bar = strchr(word, '|');
        const size_t size = bar ? (size_t)(bar - word) : strlen(word);
        if (size == length && strncmp(word, text, size) == 0) {
            *value = index;
            return CLI_OK;
        }
        word = bar ? bar + 1 : NULL;
    }
    return refuse(s, text);
}

/* A whole text file, at most 1 MiB. */
static char *read_file(const char *path)
{
    enum { MOST = 1 << 20 };
    FILE *file = fopen(path, "rb");
    if (!file) {
        cli_say("%s: %s; give @FILE a text file", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(MOST + 1);
    const size_t size = text ? fread(text, 1, MOST + 1, file) : 0;
    const bool bad = !text || ferror(file) || size > MOST || memchr(text, 0, size);
    fclose(file);
    if (bad) {
        cli_say("%s: this is not a text of at most 1 MiB; give @FILE a text file", path);
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static int parse_prompt(struct cli *cli, const struct spec *s, const char *text)
{
    const bool negative = s->offset == AT(request.negative_prompt);
    char **owned = negative ? &cli->negative_text : &cli->prompt_text;
    const char *value = text;
    if (*text == '@') {
        free(*owned);
        value = *owned = read_file(text + 1);
        if (!value)
            return CLI_REFUSED;
        cli->read[negative] = text + 1;
    }
    *(const char **)(void *)((char *)cli + s->offset) = value;
    return CLI_OK;
}

static int set(struct cli *cli, const struct spec *s, const char *text)
{
    void *target = (char *)cli + s->offset;
    switch (s->kind) {
    case FLAG:
        if (s->offset == AT(output.overwrite) || s->offset == AT(output.no_metadata))
            *(int *)target = 1;
        else
            *(bool *)target = true;
        return CLI_OK;
    case TEXT:
        if (!*text)
            return refuse(s, "an empty word");
        *(const char **)target = text;
        return CLI_OK;
    case PROMPT:
        return parse_prompt(cli, s, text);
    case INTEGER:
        return parse_integer(s, text, target);
    case NUMBER:
        return parse_number(s, text, target);
    case SEED:
        return parse_seed(s, text, &cli->request);
    case RATE:
        return parse_rate(s, text, &cli->request);
    case SIZE:
        return parse_size(s, text, target);
    case PAIR:
        return parse_pair(s, text, target);
    case CHOICE:
        return parse_choice(s, text, target);
    }
    return CLI_REFUSED;
}

/* --- parsing --- */

static void fill_getopt(enum cli_verb verb, struct option *longs, char *shorts)
{
    *shorts++ = '-'; /* options and words in any order, whatever POSIXLY_CORRECT says */
    *shorts++ = ':';
    for (int i = 0; i < SPECS; i++) {
        const struct spec *s = &specs[i];
        if (!(s->verbs & (unsigned)verb))
            continue;
        const int has = s->kind == FLAG ? no_argument : required_argument;
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

static const struct spec *find_spec(int code, enum cli_verb verb)
{
    if (code >= FIRST_LONG)
        return &specs[code - FIRST_LONG];
    for (int i = 0; i < SPECS; i++) {
        if (specs[i].letter == code && (specs[i].verbs & (unsigned)verb))
            return &specs[i];
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
    struct option longs[SPECS + 1];
    char shorts[2 * SPECS + 3];
    fill_getopt(cli->verb, longs, shorts);
    optind = 0; /* glibc's getopt begins anew, whatever word it was in before */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (code == 1) {
            add_word(cli, optarg);
            continue;
        }
        const struct spec *s = code == '?' || code == ':' ? NULL : find_spec(code, cli->verb);
        if (!s)
            return refuse_usage(code, argv);
        if (set(cli, s, optarg) != CLI_OK)
            return CLI_REFUSED;
    }
    while (optind < argc) /* behind a -- */
        add_word(cli, argv[optind++]);
    return CLI_OK;
}

static int check_words(struct cli *cli)
{
    static const char *const names[][2] = {{"model folder", "latents file"},
                                           {"reference", "clip to compare"}};
    const bool compares = cli->verb == CLI_COMPARE;
    const int want = cli->verb == CLI_DECODE || compares ? 2 : 1;
    cli->model = cli->word[0];
    cli->latents = want > 1 ? cli->word[1] : NULL;
    cli->comparison.reference = cli->word[0];
    cli->comparison.clip = cli->word[1];
    if (cli->words < want)
        cli_say("usage: the %s is missing; see --help", names[compares][cli->words]);
    else if (cli->words > want)
        cli_say("usage: %s is one word too many; see --help", cli->word[want]);
    return cli->words == want ? CLI_OK : CLI_REFUSED;
}

bool cli_drops_frames(const struct cli *cli)
{
    return cli->output.format && strcmp(cli->output.format, "null") == 0;
}

/* What several clips cannot share. */
static int check_videos(const struct cli *cli)
{
    const struct weft_request *r = &cli->request;
    const int more = cli_clips(cli) - 1;
    if (more == 0)
        return CLI_OK;
    if (r->latents)
        cli_say("--latents: gives all %d clips the same noise; use --seed, or make them one by one",
                more + 1);
    else if (!r->random_seed && r->seed > UINT64_MAX - (uint64_t)more)
        cli_say(
            "--seed: %llu is too large for %d clips, whose seeds follow it; choose a smaller one",
            (unsigned long long)r->seed, more + 1);
    else if (cli->output.path && !cli_drops_frames(cli) && strcmp(cli->output.path, "-") == 0)
        cli_say("--output: nobody could tell %d clips in one stream apart; name a file for each, "
                "like clip-%%02d.mp4",
                more + 1);
    else if (r->resume)
        cli_say("--resume: the folder holds one clip's state; make the %d clips one by one",
                more + 1);
    else if (cli->report && strcmp(cli->report, "-") == 0)
        cli_say("--report: each of %d clips has one of its own; name them like report-%%02d.json",
                more + 1);
    else
        return CLI_OK;
    return CLI_REFUSED;
}

static int check_clip(const struct cli *cli)
{
    if (cli->verb == CLI_INFO || cli->verb == CLI_COMPARE)
        return CLI_OK;
    if (cli->json && !cli->plan) {
        cli_say("--json: goes with --plan, or with info; leave it away");
        return CLI_REFUSED;
    }
    if (!cli->output.path && !cli_drops_frames(cli) && !cli->plan) {
        cli_say("usage: the output is missing; give -o FILE, or --format null to drop the frames");
        return CLI_REFUSED;
    }
    return check_videos(cli);
}

/* A batch has its outputs in its file. */
static int check_jobs(const struct cli *cli)
{
    if (!cli->output.path && !cli->request.resume && !cli->report)
        return CLI_OK;
    cli_say("--jobs: each request names its own output, report and resume; leave them away here");
    return CLI_REFUSED;
}

int cli_parse(struct cli *cli, enum cli_verb verb, int argc, char **argv)
{
    *cli = (struct cli){.verb = verb, .offload = NOT_GIVEN};
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
    if (cli->offload != NOT_GIVEN)
        cli->settings.offload = offloads[cli->offload];
    if (cli->quiet)
        cli->progress = CLI_PROGRESS_NONE;
    for (int i = 0, kept = 0; i < 2; i++) {
        if (cli->read[i])
            cli->keep[kept++] = cli->read[i];
    }
    cli->output.keep = cli->keep;
    cli->settings.profile = cli->verbose;
    if (check_words(cli) != CLI_OK)
        return CLI_REFUSED;
    return cli->jobs ? check_jobs(cli) : cli_check(cli);
}

int cli_check(struct cli *cli)
{
    return cli_take_recipe(cli) == CLI_OK ? check_clip(cli) : CLI_REFUSED;
}

/* What is the engine's, and the batch's own, is the same for all of its requests. */
static bool is_shared(const struct spec *s)
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
    for (int i = 0; i < SPECS; i++) {
        const struct spec *s = &specs[i];
        if (strcmp(s->name, name) != 0 || !(s->verbs & (unsigned)cli->verb))
            continue;
        if (!value && s->kind != FLAG) {
            cli_say("%s: true is no value of it; give a text or a number", name);
            return CLI_REFUSED;
        }
        if (!is_shared(s))
            return set(cli, s, value);
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

/* --- help --- */

void cli_help(enum cli_verb verb, bool all)
{
    printf("weft %s\n", verb == CLI_GENERATE ? "generate MODEL -p TEXT | -i IMAGE -o FILE [options]"
                        : verb == CLI_DECODE ? "decode MODEL LATENTS -o FILE [options]"
                        : verb == CLI_COMPARE ? "compare REFERENCE CLIP [options]"
                                              : "info MODEL [options]");
    const char *heading = NULL;
    bool more = false;
    for (int i = 0; i < SPECS; i++) {
        const struct spec *s = &specs[i];
        heading = s->group ? s->group : heading;
        if (!(s->verbs & (unsigned)verb) || (!s->help && s->offset != AT(output.format)))
            continue;
        if (s->verbs & RARE && !all) {
            more = true;
            continue;
        }
        if (heading)
            printf("%s\n", heading);
        heading = NULL;
        char left[64];
        const char letter[] = {'-', (char)s->letter, ' ', '\0'};
        snprintf(left, sizeof left, "%s--%s%s%s", s->letter ? letter : "", s->name,
                 s->argument ? " " : "", s->argument ? s->argument : "");
        printf("  %-36s %s\n", left, s->help ? s->help : weft_output_formats());
    }
    if (more)
        printf("What is rarely needed: --help --verbose\n");
}
