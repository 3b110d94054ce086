/* What a fixture's case.json asks for. */
#ifndef WEFT_TESTS_REQUEST_H
#define WEFT_TESTS_REQUEST_H

#include <jansson.h>

#include "engine/weft.h"

enum { REQUEST_PATH = 4096 };

/* Fills a request of the model's defaults; texts live as long as root, an image's path as long as
   the room that is given for it. folder: the case's. */
void request_of_case(const json_t *root, const char *folder, struct weft_request *request,
                     char image[REQUEST_PATH]);

#endif
