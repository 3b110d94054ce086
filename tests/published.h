/* The published folders without their bytes, of oracle/sparse.py, in a folder of this process's
 * own.
 */
#ifndef WEFT_TESTS_PUBLISHED_H
#define WEFT_TESTS_PUBLISHED_H

enum { PUBLISHED_SKIPPED = 77 };

/* Makes "1.3b" or "14b". 0, or the test's exit code: PUBLISHED_SKIPPED, which it says, without
   python3 or sparse files. */
int published_make(const char *model);
/* The folder of one that was made, and then of that component of it. */
void published_path(const char *model, const char *component, char path[512]);
/* Removes the folders; code, or a failure's where that is not possible. */
int published_end(int code);

#endif
