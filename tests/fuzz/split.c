#include "tests/fuzz/split.h"

#include "engine/text/text.h"

enum { MOST = 16 };

static void encode(struct fuzz *f, const struct wf_tokenizer *tok, const char *text, int max)
{
    int32_t ids[MOST];
    int count = 0, whole = 0;
    const enum wf_status status = wf_tokenizer_encode(tok, text, ids, max, &count, &whole, &f->err);
    FUZZ_CHECK(status == WF_OK || status == WF_FAILED); /* of a model that cannot split this text */
    if (status != WF_OK)
        return;
    FUZZ_CHECK(count >= 1 && count <= max && whole >= count);
    for (int i = 0; i < count; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < wf_tokenizer_size(tok));
}

enum wf_status fuzz_split(struct fuzz *f, const char *folder)
{
    static const char *const texts[] = {"", "a", "a red fox  runs, <pad></s> quickly",
                                        "\xc3\xa4\xe2\x96\x81\xf0\x9f\xa6\x8a\xef\xac\x81",
                                        "\xe3\x81\x8d\xe3\x82\x99 \xe3\x80\x80\xe1\x84\x80 \t 1/2"};
    struct wf_tokenizer *tok;
    WF_TRY(wf_tokenizer_open(folder, f->mem, &tok, &f->err));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        encode(f, tok, texts[i], MOST);
        encode(f, tok, texts[i], 1);
    }
    wf_tokenizer_close(&tok);
    return WF_OK;
}
