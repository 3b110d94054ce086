/* Opening and reading files that come from outside: only regular files, sizes known before use. */
#ifndef WEFT_IO_FILE_H
#define WEFT_IO_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* Opens a regular file (symbolic links are followed) for reading; WF_REFUSED for anything else,
   such as a folder or a pipe. *fd is to be closed by the caller. */
enum wf_status wf_file_open(const char *path, int *fd, uint64_t *bytes, struct wf_error *err);

/* The whole of a regular file of at most limit bytes, with a NUL after the last, which *bytes does
   not count. *data is to be freed with free. WF_REFUSED when it is longer or cannot be read. */
enum wf_status wf_file_read(const char *path, size_t limit, char **data, size_t *bytes,
                            struct wf_error *err);

#endif
