/* weft(1), in the man macros. */
#include <stdio.h>
#include <string.h>

#include "engine/cli/option.h"
#include "engine/cli/pages/pages.h"

/* As it stands: roff would take some characters for others, and a line that begins with a point or
   an apostrophe for a request. */
static void put_some(const char *text, size_t length)
{
    static const char *const escapes[] = {"-\\-", "\\\\e", "`\\(ga", "~\\(ti", "^\\(ha", "\"\\(dq"};
    if (length > 0 && (*text == '.' || *text == '\''))
        fputs("\\&", stdout);
    for (; length > 0; text++, length--) {
        size_t i = 0;
        while (i < sizeof escapes / sizeof *escapes && escapes[i][0] != *text)
            i++;
        if (i < sizeof escapes / sizeof *escapes)
            fputs(escapes[i] + 1, stdout);
        else
            putchar(*text);
    }
}

static void put(const char *text)
{
    put_some(text, strlen(text));
}

/* Broken into lines, as roff's own tools want them. */
static void put_text(const char *text)
{
    enum { WIDEST = 76 };
    for (size_t column = 0; *text;) {
        const size_t length = strcspn(text, " ");
        if (column > 0)
            putchar(column + length < WIDEST ? ' ' : '\n');
        column = column + length < WIDEST ? column + length + 1 : length;
        put_some(text, length);
        text += length + (text[length] == ' ');
    }
    putchar('\n');
}

static void put_font(char font, const char *text)
{
    printf("\\f%c", font);
    put(text);
    fputs("\\fR", stdout);
}

static void put_synopsis(void)
{
    int count;
    const struct cli_verb *verbs = cli_verbs(&count);
    for (int i = 0; i < count; i++) {
        const struct cli_verb *v = &verbs[i];
        put_font('B', "weft");
        putchar(' ');
        put_font('B', v->name);
        for (int w = 0; w < CLI_WORDS - 1 && v->word[w].name; w++) {
            putchar(' ');
            put_font('I', v->word[w].name);
        }
        putchar(' ');
        put(v->synopsis);
        puts("\n.br");
    }
    puts("\\fBweft\\fR \\fIVERB\\fR \\fB\\-\\-help\\fR | \\fBweft\\fR \\fB\\-\\-version\\fR");
}

static void put_verbs(void)
{
    int count;
    const struct cli_verb *verbs = cli_verbs(&count);
    for (int i = 0; i < count; i++) {
        puts(".TP");
        put_font('B', verbs[i].name);
        putchar('\n');
        put_text(verbs[i].summary);
    }
}

/* (generate, decode); nothing where every verb has it. */
static void put_owners(unsigned bits)
{
    int count;
    unsigned all = 0;
    const struct cli_verb *verbs = cli_verbs(&count);
    for (int i = 0; i < count; i++)
        all |= verbs[i].bit;
    if ((bits & all) == all)
        return;
    const char *before = "(";
    for (int i = 0; i < count; i++) {
        if (bits & verbs[i].bit) {
            fputs(before, stdout);
            put_font('I', verbs[i].name);
            before = ", ";
        }
    }
    puts(")");
}

/* A choice's words as they are typed, else what stands for them. */
static void put_argument(const struct cli_option *s)
{
    putchar(' ');
    if (s->kind != CHOICE) {
        put_font('I', s->argument);
        return;
    }
    for (const char *word = s->argument; *word;) {
        const int length = (int)strcspn(word, "|");
        printf("\\fB%.*s\\fR%s", length, word, word[length] ? "|" : "");
        word += length + (word[length] != '\0');
    }
}

/* The option's names, and those of the entries behind it that have no help of their own. */
static void put_names(const struct cli_option *s, const struct cli_option *end)
{
    if (s->letter)
        printf("\\fB\\-%c\\fR, ", s->letter);
    fputs("\\fB\\-\\-", stdout);
    put(s->name);
    fputs("\\fR", stdout);
    for (const struct cli_option *o = s + 1; o < end; o++) {
        if (o->offset == s->offset && !cli_option_help(o)) {
            fputs(", \\fB\\-\\-", stdout);
            put(o->name);
            fputs("\\fR", stdout);
        }
    }
    if (s->argument)
        put_argument(s);
    putchar('\n');
}

static void put_options(void)
{
    int count;
    const struct cli_option *options = cli_options(&count);
    for (int i = 0; i < count; i++) {
        const struct cli_option *s = &options[i];
        if (s->group)
            printf(".SS %s\n", s->group);
        if (!cli_option_help(s))
            continue;
        puts(".TP");
        put_names(s, options + count);
        put_text(cli_option_help(s));
        put_owners(s->verbs);
    }
}

static void put_terms(const char *const (*terms)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        puts(".TP");
        put_font('B', terms[i][0]);
        putchar('\n');
        put_text(terms[i][1]);
    }
}

static void put_formats(void)
{
    static const char *const terms[][2] = {
        {"mp4, mkv, mov, webm",
         "by FFmpeg's libraries; BT.709, limited range, tagged. To a pipe they come in short "
         "fragments, without seeking."},
        {"png", "a file a frame; the name is a pattern such as frame-%05d.png."},
        {"y4m, rawvideo",
         "frames without compression, 4:2:0 with a header that players read, or rgb24 without."},
        {"safetensors",
         "the tensor `frames`, F32 [T,H,W,3] from 0 to 1, without rounding; latents are read from "
         "such files too."},
        {"null", "frames are computed and dropped, to measure."},
    };
    put_text("The format is that of the output's extension, unless --format says it. This build "
             "writes these:");
    put_text(weft_output_formats());
    put_terms(terms, sizeof terms / sizeof *terms);
}

static void put_exits(void)
{
    static const char *const terms[][2] = {
        {"0", "Done."},
        {"1", "Failed while running: device, disk, memory, damage met midway."},
        {"2", "Refused before anything was computed: a wrong option, a bad model folder, an "
              "output that cannot be written."},
        {"3", "compare found the clip below a threshold."},
        {"129, 130, 143", "Hung up, interrupted, terminated."},
    };
    put_terms(terms, sizeof terms / sizeof *terms);
    puts(".PP");
    put_text(
        "A message is one line on standard error: where, what was wrong, what to do. A run that "
        "was refused or failed leaves no file under the output's name.");
}

static void put_environment(void)
{
    static const char *const terms[][2] = {
        {"OMP_NUM_THREADS", "Threads, where --threads does not say it."},
        {"OMP_WAIT_POLICY", "passive, unless it is set: threads that wait sleep."},
        {"WEFT_CUDA_MODULE",
         "The path of weft-cuda.so, which is else looked for beside the program and in weft's "
         "folder of libraries."},
    };
    put_terms(terms, sizeof terms / sizeof *terms);
}

static void put_examples(void)
{
    static const char *const lines[] = {
        "weft generate MODEL -p \"a red fox in the snow\" -o fox.mp4",
        "weft generate MODEL -p @prompt.txt -W 480 -H 272 -f 33 -o - --format y4m | mpv -",
        "weft generate SVD-MODEL -i photo.jpg --decode-chunk-size 8 -o clip.mp4",
        "weft generate MODEL --like clip.mp4 -o again.mp4",
        "weft generate MODEL -p \"a red fox\" --plan",
        "weft decode MODEL latents.safetensors -o clip.mp4",
        "weft compare reference.mp4 clip.mp4 --min-psnr 40 --report report.html",
    };
    puts(".nf");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put(lines[i]);
        putchar('\n');
    }
    puts(".fi");
}

void pages_manual(const char *date)
{
    printf(".TH WEFT 1 %s \"weft %s\" \"User Commands\"\n", date, weft_version());
    puts(".SH NAME\nweft \\- video generation from diffusers model folders");
    puts(".SH SYNOPSIS");
    put_synopsis();
    puts(".SH DESCRIPTION\n.B weft");
    put_text(
        "makes video from a text or a picture. MODEL is a folder as the Hugging Face hub has it, "
        "with a model_index.json; to decode, a VAE's own folder will do. A frame is handed on "
        "as soon as it is decoded, and memory does not grow with the length of the clip.");
    puts(".SH VERBS");
    put_verbs();
    puts(".SH OPTIONS");
    put_text("Options and words come in any order. In brackets: what holds where an option is not "
             "given. In parentheses: the verbs that have it.");
    put_options();
    puts(".SH FORMATS");
    put_formats();
    puts(".SH EXIT STATUS");
    put_exits();
    puts(".SH ENVIRONMENT");
    put_environment();
    puts(".SH EXAMPLES");
    put_examples();
    puts(".SH SEE ALSO\n.BR ffmpeg (1),\n.BR mpv (1)");
}
