/* SentencePiece behind C functions: no exception leaves this file. */
#include <sentencepiece_processor.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <vector>

extern "C" {
#include "engine/text/spiece.h"
#include "engine/text/text.h"
#include "io/file.h"
}

struct wf_tokenizer {
    sentencepiece::SentencePieceProcessor processor;
    int eos = -1;
};

namespace
{

constexpr size_t max_model_bytes = size_t{64} << 20;
constexpr size_t path_bytes = 4096;

enum wf_status unusable(const char *path, const char *why, struct wf_error *err)
{
    return wf_fail(err, WF_REFUSED,
                   "%s: not a tokenizer that can be used (%s); download the folder again", path,
                   why);
}

enum wf_status load(struct wf_tokenizer *tok, const void *model, size_t bytes, const char *path,
                    struct wf_error *err)
{
    WF_TRY(wf_spiece_check(model, bytes, path, err));
    const auto status =
        tok->processor.LoadFromSerializedProto({static_cast<const char *>(model), bytes});
    if (!status.ok())
        return unusable(path, status.ToString().c_str(), err);
    tok->eos = tok->processor.eos_id();
    if (tok->eos < 0)
        return unusable(path, "it has no end-of-sentence piece", err);
    return WF_OK;
}

enum wf_status load_spiece(struct wf_tokenizer *tok, const char *path, struct wf_error *err)
{
    char *model = nullptr;
    size_t bytes = 0;
    WF_TRY(wf_file_read(path, max_model_bytes, &model, &bytes, err));
    const std::unique_ptr<char, decltype(&std::free)> owner{model, std::free};
    return load(tok, model, bytes, path, err);
}

enum wf_status load_json(struct wf_tokenizer *tok, const char *path, struct wf_mem *mem,
                         struct wf_error *err)
{
    void *model = nullptr;
    size_t bytes = 0;
    WF_TRY(wf_spiece_from_json(path, mem, &model, &bytes, err));
    const std::unique_ptr<void, decltype(&wf_free)> owner{model, wf_free};
    return load(tok, model, bytes, path, err);
}

enum wf_status load_folder(struct wf_tokenizer *tok, const char *folder, struct wf_mem *mem,
                           struct wf_error *err)
{
    char spiece[path_bytes], json[path_bytes];
    const int length = std::snprintf(spiece, path_bytes, "%s/spiece.model", folder);
    const int json_length = std::snprintf(json, path_bytes, "%s/tokenizer.json", folder);
    if (length < 0 || json_length >= static_cast<int>(path_bytes))
        return wf_fail(err, WF_REFUSED, "%s: path too long; use a shorter one", folder);
    if (!wf_file_is_there(spiece) && wf_file_is_there(json))
        return load_json(tok, json, mem, err);
    return load_spiece(tok, spiece, err);
}

} // namespace

enum wf_status wf_tokenizer_open(const char *folder, struct wf_mem *mem, struct wf_tokenizer **tok,
                                 struct wf_error *err)
{
    *tok = nullptr;
    void *place = wf_alloc(mem, WF_MEM_MISC, sizeof **tok);
    if (!place)
        return wf_fail_memory(err, folder, sizeof **tok);
    enum wf_status status = WF_FAILED;
    try {
        *tok = new (place) wf_tokenizer;
        status = load_folder(*tok, folder, mem, err);
    } catch (const std::bad_alloc &) {
        status = wf_fail_memory(err, folder, max_model_bytes);
    } catch (const std::exception &e) {
        status = unusable(folder, e.what(), err);
    }
    if (status == WF_OK)
        return WF_OK;
    if (*tok)
        wf_tokenizer_close(tok);
    else
        wf_free(place);
    return status;
}

void wf_tokenizer_close(struct wf_tokenizer **tok)
{
    if (!*tok)
        return;
    (*tok)->~wf_tokenizer();
    wf_free(*tok);
    *tok = nullptr;
}

int wf_tokenizer_size(const struct wf_tokenizer *tok)
{
    return tok->processor.GetPieceSize();
}

enum wf_status wf_tokenizer_encode(const struct wf_tokenizer *tok, const char *text, int32_t *ids,
                                   int max, int *count, int *whole, struct wf_error *err)
{
    *count = 0;
    if (max < 1)
        return wf_fail(err, WF_FAILED, "prompt: no room for its tokens");
    try {
        std::vector<int> pieces;
        const auto status = tok->processor.Encode(text, &pieces);
        if (!status.ok())
            return wf_fail(err, WF_FAILED, "prompt: cannot be split into tokens (%s); change it",
                           status.ToString().c_str());
        if (whole)
            *whole = static_cast<int>(pieces.size()) + 1;
        for (size_t i = 0; i < pieces.size() && *count < max - 1; i++)
            ids[(*count)++] = pieces[i];
    } catch (const std::bad_alloc &) {
        return wf_fail_memory(err, "prompt", sizeof *ids * static_cast<size_t>(max));
    } catch (const std::exception &e) {
        return wf_fail(err, WF_FAILED, "prompt: cannot be split into tokens (%s); change it",
                       e.what());
    }
    ids[(*count)++] = tok->eos;
    return WF_OK;
}
