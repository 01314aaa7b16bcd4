"""Requests for `replay.lua`: plain ones, and ones signed for S3 (SigV4 in headers, with a session token).

Signing is done once, before the load: a signed request stays good for the server's clock skew, usually 15 minutes.
"""

import datetime
import hashlib
import hmac
import urllib.parse


def plain(method, target, host, headers=(), body=b""):
    """A whole HTTP/1.1 request as bytes."""
    fields = {"host": host, **dict(headers)}
    if body or method in ("POST", "PUT"):
        fields["content-length"] = str(len(body))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return head.encode() + body


def signed_headers(method, path, host, keys, payload="UNSIGNED-PAYLOAD", region="auto"):
    """The headers of a signed S3 request for a path without query.

    `keys` is an answer of the vending API: access_key_id, secret_access_key, session_token.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    instant, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {
        "host": host,
        "x-amz-content-sha256": payload,
        "x-amz-date": instant,
        "x-amz-security-token": keys["session_token"],
    }
    names = ";".join(sorted(headers))
    canonical = "\n".join([
        method,
        urllib.parse.quote(path, safe="/-_.~"),
        "",
        "".join(f"{name}:{headers[name]}\n" for name in sorted(headers)),
        names,
        payload,
    ])
    scope = f"{day}/{region}/s3/aws4_request"
    key = ("AWS4" + keys["secret_access_key"]).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.new(key, f"AWS4-HMAC-SHA256\n{instant}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()
    credential = f"{keys['access_key_id']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def proven(method, path, query, host, key, service, body=b"", headers=(), region="us-east-1"):
    """A whole request, signed with a parent access key (its id and secret)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    instant, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    payload = hashlib.sha256(body).hexdigest()
    fields = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": instant, **dict(headers)}
    names = ";".join(sorted(fields))
    quoted = "&".join(f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    canonical = "\n".join([method, path, quoted, "".join(f"{name}:{fields[name]}\n" for name in sorted(fields)), names, payload])
    scope = f"{day}/{region}/{service}/aws4_request"
    access_key_id, secret = key
    derived = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.new(derived, f"AWS4-HMAC-SHA256\n{instant}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()
    fields["authorization"] = f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return plain(method, path + (f"?{quoted}" if quoted else ""), host, fields, body)


def write(path, requests):
    """Writes requests as `replay.lua` reads them."""
    with open(path, "wb") as out:
        for request in requests:
            out.write(request + b"\n%%%%\n")
