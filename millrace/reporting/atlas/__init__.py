"""The atlas: every sample behind a report's figures, filtered in the page, opened by the report's marks, without a server."""
