// Calls to the demo's server, as an app's client makes them.

export async function call(method, path, { token = null, body = null } = {}) {
  const headers = {};
  if (token !== null) headers["Authorization"] = `Bearer ${token}`;
  if (body !== null) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(path, { method, headers, body: body === null ? null : JSON.stringify(body) });
    return await answer(response, method, path);
  } catch {
    const detail = "the server does not answer; is the demo still running?";
    return { ok: false, status: 0, phrase: "No answer", body: { detail }, challenge: null, method, path };
  }
}

async function answer(response, method, path) {
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  return {
    ok: response.ok,
    status: response.status,
    phrase: response.statusText,
    body: isJson ? await response.json() : {},
    challenge: response.headers.get("WWW-Authenticate"),
    method,
    path,
  };
}

const sessionPath = (sessionId) => `/video/sessions/${encodeURIComponent(sessionId)}`;

export const createSession = (properties) => call("POST", "/video/sessions", { body: properties });

const tokensPath = (sessionId) => `${sessionPath(sessionId)}/tokens`;

export const createToken = (sessionId, wanted) => call("POST", tokensPath(sessionId), { body: wanted });

export const endSession = (sessionId, token) => call("DELETE", sessionPath(sessionId), { token });

export const inspect = (token) => call("POST", "/inspect", { body: { token } });

const doorPath = (sessionId, act) => `/rooms/${encodeURIComponent(sessionId)}/${act}`;

export const knock = (sessionId, act, token) => call("POST", doorPath(sessionId, act), { token });

// The same two questions, asked only for why: nothing is issued, and no door opens.

export const explainToken = (sessionId, wanted) => call("POST", `/explain${tokensPath(sessionId)}`, { body: wanted });

export const explainKnock = (sessionId, act, token) => call("POST", `/explain${doorPath(sessionId, act)}`, { token });
