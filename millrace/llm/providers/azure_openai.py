"""Models that Azure OpenAI (Microsoft Foundry) deploys: chat completions, with its key header, deployments and API versions.

`base_url` is the resource's address, `https://RESOURCE.openai.azure.com`. `model` is the deployment's name; with `api_version`
the path of dated versions is used, `/openai/deployments/DEPLOYMENT/chat/completions?api-version=…`, without it Azure's v1 API.
A base URL that names its own path (`…/v1`, `…/openai/deployments/NAME?api-version=…`) is used as it is.

Source: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

import re
import urllib.parse

from millrace.config import parse_config
from millrace.llm.keys import Secret, read_key
from millrace.llm.providers import openai_compatible
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.http_chat import HttpChat, Resources

NEEDS_ENDPOINTS = NEEDS_MODEL = True


class Options(openai_compatible.Options):
    """Azure's own switches (`options:` in the model's config), beside those of `openai_compatible`."""

    api_version: str | None = None
    """A dated version, such as `2024-10-21`; null takes the v1 API, which needs none."""
    deployment: str | None = None
    """The deployment's name where it is not the model's: `model` is then the model's own, by which it is priced."""
    entra_token: bool = False
    """The key is a token of Microsoft Entra ID, sent as a bearer token and not as an `api-key`."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings, shared: Resources) -> HttpChat:
    """The model at one endpoint."""
    options = parse_config(Options, settings.options, where="options of provider azure_openai")
    key = read_key(endpoint.api_key_env, endpoint.api_key_block)
    return HttpChat(AzureDialect(settings.model, options, endpoint.base_url), settings, endpoint, key, shared)


class AzureDialect(openai_compatible.OpenAIDialect):
    """As OpenAI's; where requests go and how the key is sent differ."""

    options: Options

    def __init__(self, model: str, options: Options, base_url: str) -> None:
        super().__init__(options.deployment or model, options)
        path = urllib.parse.urlsplit(base_url).path.rstrip("/")
        version = f"?api-version={urllib.parse.quote(options.api_version)}" if options.api_version else ""
        if re.search(r"/openai(/|$)|/v1$", path):  # the address of the API itself
            self._chat, self.models_path = f"/chat/completions{version}", f"/models{version}"
        elif version:
            name = urllib.parse.quote(self.model, safe="")
            self._chat = f"/openai/deployments/{name}/chat/completions{version}"
            self.models_path = f"/openai/models{version}"
        else:
            self._chat, self.models_path = "/openai/v1/chat/completions", "/openai/v1/models"

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """The key in a header of its own, or a token of the directory service."""
        if key is None or self.options.entra_token:
            return super().headers(key)
        return [("api-key", key.reveal())]

    def path(self, model: str) -> str:
        """With the deployment's name, where the version wants it there."""
        return self._chat
