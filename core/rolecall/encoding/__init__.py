"""How tokens are written: compact JWS, strict JSON, canonical base64url."""
