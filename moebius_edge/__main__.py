"""Entry point of `moebius-edge` and `python -m moebius_edge`; light, so that Ctrl-C is answered early."""

import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command line; Ctrl-C while its modules are still being imported ends as it does later."""
    try:
        from moebius_edge import cli  # noqa: PLC0415 (the first hundred milliseconds are this import)

        cli.main()
    except KeyboardInterrupt:
        print("stopped; nothing was left half-written", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
