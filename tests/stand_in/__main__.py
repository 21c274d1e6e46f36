"""python -m tests.stand_in [--tls] [--direct] [--port N]: the stand-in Hub by hand; point HF_ENDPOINT at it. Ctrl-C ends it."""

from __future__ import annotations

import argparse
from threading import Event

from tests.stand_in.content import Repository, folder
from tests.stand_in.samples import EMBEDDED, samples
from tests.stand_in.server import TLS, stand_in


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stand_in", description=__doc__)
    parser.add_argument("--tls", action="store_true", help="https, with the certificate of tests/fixtures/tls")
    parser.add_argument("--direct", action="store_true", help="no redirects, as many mirrors do")
    parser.add_argument("--port", type=int, default=0, help="port of the Hub; default: a free one")
    options = parser.parse_args()
    repositories = [*samples(), Repository("acme/real", folder(EMBEDDED / "model"))]
    with stand_in(repositories, tls=options.tls, redirecting=not options.direct, port=options.port) as state:
        print(f"export HF_ENDPOINT={state.hub}" + (f" SSL_CERT_FILE={TLS / 'cert.pem'}" if options.tls else ""))
        print(f"content network: {state.cdn}\nrepositories: {', '.join(state.repositories)}", flush=True)
        try:
            Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
