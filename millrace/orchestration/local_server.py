"""A run's own Prefect server as a program: what `local_api` starts.

    python -m millrace.orchestration.local_server --host 127.0.0.1 --port 4321
    python -m millrace.orchestration.local_server --prepare     # makes the database that the settings name, and ends

As `uvicorn --factory prefect.server.api.server:create_app`, with less CPU until it answers (`uncollected`); Prefect's own command
would import a second more.
"""

from __future__ import annotations

import argparse
import asyncio
import os

from millrace.imports import uncollected

KEEP_ALIVE_S = 5
"""How long an idle connection of a client is kept; Prefect's own servers keep it as long."""


def main() -> None:
    """Read the arguments, then serve until SIGTERM, or prepare the database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--prepare", action="store_true")
    options = parser.parse_args()
    os.environ["PREFECT__SERVER_FINAL"] = "1"  # one app for the process: its routes need not be copied
    with uncollected():
        import uvicorn
        from prefect.server.api.server import create_app

        if options.prepare:
            asyncio.run(_prepare_database())
            return
        app = create_app()
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        lifespan="on",
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
    )


async def _prepare_database() -> None:
    """What a first start of a server adds to its database: the tables, and the types of blocks."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)
    await (await database.engine()).dispose()


if __name__ == "__main__":
    main()
