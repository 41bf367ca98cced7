"""A file from the web, continued where an interrupted download left it."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from metrics.errors import Unavailable
from metrics.weight import Weight
from metrics.weight_places import FOLDER_VARIABLE

BLOCK = 1 << 20


def download(address: str, part: Path, weight: Weight) -> Path:
    """A web file, continuing what an interrupted download left.

    Raises:
        Unavailable: it cannot be had, or not all of it came: then the part stays, to be continued.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # What a host answers with when a quota is used up: where no digest is published, it
            # would be taken for the weights.
            if answer.headers.get_content_type() == "text/html":
                raise Unavailable(
                    f"{address} gave a web page instead of {weight.file}; {by_hand(weight)}"
                )
            mode = "ab" if have and answer.status == 206 else "wb"
            with part.open(mode) as file:
                arrived = sum(file.write(block) for block in _blocks(answer))
                file.flush()
                os.fsync(file.fileno())
            promised = int(answer.headers.get("Content-Length", arrived))
            # A body that ends early raises nothing when it is read block by block.
            if arrived < promised:
                raise ConnectionError(f"{promised - arrived} bytes are missing")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part is already whole
            raise Unavailable(f"{address}: {error}; {by_hand(weight)}") from None
    except urllib.error.URLError as error:
        raise Unavailable(f"{address} cannot be reached ({error}); {by_hand(weight)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{address}: the connection broke ({error}); run it again to continue, "
            f"{by_hand(weight)}"
        ) from None
    return part


def _blocks(answer: "object") -> Iterator[bytes]:
    read = getattr(answer, "read")  # noqa: B009 - urlopen's answer has no common static type
    while block := read(BLOCK):
        yield block


def by_hand(weight: Weight) -> str:
    """How people bring a file here that cannot be fetched."""
    return f"or put {weight.file} into the folder that {FOLDER_VARIABLE} names"
