/* Reading configuration files: jansson underneath, one line of message for everything that is
   wrong; and building what is written. */
#ifndef WEFT_IO_JSON_H
#define WEFT_IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* A parsed file that is an object, with its path for messages. */
struct wf_json {
    json_t *root;
    char path[1024];
};

/* WF_REFUSED when the file cannot be opened, is larger than 64 MiB, or is not a JSON object. */
enum wf_status wf_json_open(const char *path, struct wf_json *out, struct wf_error *err);
void wf_json_close(struct wf_json *json); /* may be called twice */

/* A key that is missing or null leaves *out as it is (the class default that the caller put there);
   one of another type, or outside low..high, is WF_REFUSED. A number such as 4.0 is an integer too.
 */
enum wf_status wf_json_int(const struct wf_json *json, const char *key, int64_t low, int64_t high,
                           int64_t *out, struct wf_error *err);
enum wf_status wf_json_double(const struct wf_json *json, const char *key, double low, double high,
                              double *out, struct wf_error *err);
enum wf_status wf_json_bool(const struct wf_json *json, const char *key, bool *out,
                            struct wf_error *err);
/* *out points into the document. */
enum wf_status wf_json_string(const struct wf_json *json, const char *key, const char **out,
                              struct wf_error *err);
/* As above for arrays of numbers; *count is at most max on return, 0 when the key is missing: an
   empty array is WF_REFUSED. */
enum wf_status wf_json_ints(const struct wf_json *json, const char *key, int64_t low, int64_t high,
                            int max, int64_t *out, int *count, struct wf_error *err);
enum wf_status wf_json_doubles(const struct wf_json *json, const char *key, int max, double *out,
                               int *count, struct wf_error *err);
enum wf_status wf_json_bools(const struct wf_json *json, const char *key, int max, bool *out,
                             int *count, struct wf_error *err);
/* Whether the key is there, and not null. */
bool wf_json_is_there(const struct wf_json *json, const char *key);
/* WF_REFUSED, naming file and key, when the key is missing or null. */
enum wf_status wf_json_require(const struct wf_json *json, const char *key, struct wf_error *err);

/* Building. Each takes over the references of all its arguments and gives the first one back; NULL
   where one was NULL or memory was short. So a document that lacks something is none, however it
   was built. joined: the keys of more are added to root. */
json_t *wf_json_with(json_t *object, const char *key, json_t *value);
json_t *wf_json_plus(json_t *array, json_t *value);
json_t *wf_json_joined(json_t *root, json_t *more);

/* Whether a key is one of a row of words with blanks between them. */
bool wf_json_key_in(const char *row, const char *key);

#endif
