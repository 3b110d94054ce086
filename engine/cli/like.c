/* A clip's own request. */
#include "engine/cli/cli.h"

int cli_take_recipe(struct cli *cli)
{
    char message[512];
    if (!cli->like)
        return CLI_OK;
    const enum weft_status status =
        weft_recipe_open(cli->like, &cli->recipe, message, sizeof message);
    if (status != WEFT_OK) {
        cli_say("%s", message);
        return CLI_REFUSED;
    }
    weft_recipe_settings(cli->recipe, &cli->settings);
    weft_recipe_request(cli->recipe, &cli->request);
    weft_recipe_output(cli->recipe, &cli->output);
    return CLI_OK;
}
