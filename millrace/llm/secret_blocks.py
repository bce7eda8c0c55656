"""A key from a Secret block of the Prefect server, read over its REST API.

Every process that talks to an endpoint (ranks, Dask workers) reads the block itself, when it opens the model: a key is in no
parameter, no file of the run and no message between processes. Prefect is not imported for it, because that costs a rank seconds.
"""

from __future__ import annotations

import urllib.error
import urllib.parse

from millrace.errors import UsageError
from millrace.prefect_rest import ask_server, configured_api


def read_secret_block(name: str) -> str:
    """The text in the Secret block `name` of the configured Prefect server (`PREFECT_API_URL` or the active profile).

    Raises:
        UsageError: no server is configured or answers, it wants a login, or it has no such block.
    """
    url = configured_api()
    if not url:
        raise UsageError(
            f"the key is in the Prefect Secret block '{name}' (api_key_block), but no Prefect server is configured: "
            "set PREFECT_API_URL, or name an environment variable in api_key_env"
        )
    path = f"block_types/slug/secret/block_documents/name/{urllib.parse.quote(name, safe='')}?include_secrets=true"
    try:
        value = ask_server(url, path)["data"]["value"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise UsageError(
                f"the Prefect server at {url} has no Secret block '{name}'; make it in the UI under Blocks"
            ) from None
        raise UsageError(f"the Prefect server at {url} does not hand out the Secret block '{name}': HTTP {error.code}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the Secret block '{name}' cannot be read from {url}: {type(error).__name__}") from None
    if not isinstance(value, str):
        raise UsageError(f"the Secret block '{name}' holds a {type(value).__name__}, not the text of a key")
    return value
