"""Command line: API keys of the server, secrets for pseudonyms, and the check of an audit log."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from mmrank.data.pseudonyms import VARIABLE, Pseudonyms, new_secret
from mmrank.outputs import UserError, exit_code
from mmrank.server.guard.audit import verify_audit
from mmrank.server.guard.keys import ROLES, ApiKey, make_key, read_keys, revoke_key

EXAMPLE = f"""examples:
  python -m mmrank.keys make --file keys.json --name "shop frontend" --role rank --rate 100/second
  python -m mmrank.keys list --file keys.json
  python -m mmrank.keys revoke --file keys.json --id 1f9a0c3e
  export {VARIABLE}="$(python -m mmrank.keys secret --name a1)"
  python -m mmrank.keys pseudonym --user 12345
  python -m mmrank.keys audit --file audit.jsonl

A key is shown once and kept as a hash. A server with `--set security.keys=keys.json` follows
the file: new and revoked keys count within a second.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    job: Callable[[argparse.Namespace], None] = args.job
    return exit_code(lambda: job(args))


def _make(args: argparse.Namespace) -> None:
    if args.days is not None and args.days <= 0:
        raise UserError(
            f"--days {args.days}: must be above 0; leave it out for a key that does not expire"
        )
    if args.rate is not None:
        from mmrank.server.guard.rates import parse_rate

        parse_rate(args.rate)
    key = make_key(args.file, args.name, args.role, args.days, args.rate)
    print(key)
    print("keep it now: it is stored as a hash and cannot be shown again", file=sys.stderr)


def _list(args: argparse.Namespace) -> None:
    for key in read_keys(args.file):
        print("  ".join([key.id, ",".join(key.roles), _state(key), key.name]))


def _state(key: ApiKey) -> str:
    if key.revoked is not None:
        return f"revoked {key.revoked}"
    if not key.usable:
        return f"expired {key.expires}"
    until = "" if key.expires is None else f" until {key.expires}"
    return f"since {key.created}{until}" + ("" if key.rate is None else f", {key.rate}")


def _revoke(args: argparse.Namespace) -> None:
    key = revoke_key(args.file, args.id)
    print(f"{key.id} ({key.name}) is revoked")


def _secret(args: argparse.Namespace) -> None:
    print(new_secret(args.name))


def _pseudonym(args: argparse.Namespace) -> None:
    print("\n".join(Pseudonyms.from_environment().every(args.user)))


def _audit(args: argparse.Namespace) -> None:
    count, chain = verify_audit(args.file)
    print(f"{count:,} lines, none changed; the last chain is {chain}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.keys",
        description="Makes, lists and revokes API keys of the server; makes secrets for pseudonyms "
        "of user ids; checks an audit log.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, job: Callable[[argparse.Namespace], None], help: str, file: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(job=job)
        if file:
            made.add_argument("--file", type=pathlib.Path, required=True, metavar="FILE", help=file)
        return made

    keys = "the file of keys"
    make = command("make", _make, "print a new API key and add its hash to the file", keys)
    make.add_argument("--name", required=True, help="name of the key's owner")
    make.add_argument(
        "--role",
        action="append",
        required=True,
        choices=ROLES,
        help="what the key allows: rank, read metrics, or admin (reload); may be repeated",
    )
    make.add_argument("--days", type=float, help="days until the key expires (default: never)")
    make.add_argument(
        "--rate", help="rate limit of the key, such as 100/second (default: that of the server)"
    )
    command("list", _list, "print the keys' ids, roles, states and names", keys)
    revoke = command("revoke", _revoke, "revoke a key", keys)
    revoke.add_argument("--id", required=True, help="id of the key, as printed by `list`")
    secret = command("secret", _secret, f"print a new secret for {VARIABLE}", "")
    secret.add_argument(
        "--name", required=True, help="name of the secret, 1 to 16 letters and digits"
    )
    pseudonym = command(
        "pseudonym", _pseudonym, "print a user id's pseudonyms, to find the user's records", ""
    )
    pseudonym.add_argument("--user", required=True, help="the user id")
    command("audit", _audit, "check that no line of an audit log was changed", "the audit log")
    return parser


if __name__ == "__main__":
    sys.exit(main())
