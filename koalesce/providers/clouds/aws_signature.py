"""How requests to AWS are signed: version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html).

Our own, as AWS' library for Python can't be installed beside the Kubernetes client: they want different versions of dateutil.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """Whose requests they are; `token` only belongs to the key of a role."""

    id: str
    secret: str
    token: str = ""


def signed(
    url: str, headers: dict[str, str], body: bytes, *, key: AccessKey, region: str, service: str, now: datetime
) -> dict[str, str]:
    """The headers of a POST to the root of a server, with what says who sends it; `now` is in UTC."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    given = {**headers, "X-Amz-Date": stamp, **({"X-Amz-Security-Token": key.token} if key.token else {})}
    known = {"host": urlsplit(url).netloc, **{name.lower(): value.strip() for name, value in given.items()}}
    names = ";".join(sorted(known))
    lines = "".join(f"{name}:{known[name]}\n" for name in sorted(known))
    request = "\n".join(["POST", "/", "", lines, names, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    secret = f"AWS4{key.secret}".encode()
    for part in (day, region, service, "aws4_request"):
        secret = _mac(secret, part)
    signature = _mac(secret, text).hex()
    told = f"{_ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**given, "Authorization": told}


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
