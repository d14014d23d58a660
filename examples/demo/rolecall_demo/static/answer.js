// Shows an answer of the server: its status, the reason in plain words, and what a client would go by.

import { element } from "./dom.js";

const HINTS = {
  bad_signature: "The forged part no longer fits the signature, and only the API secret makes one that does.",
  expired_token: "Its time is over. Get another one in step 2.",
  insufficient_role: "The token is good, but its role does not reach this far.",
  invalid_expire_time: "Nothing was signed: every value is checked first.",
  invalid_session_option: "Nothing was created: the properties are checked each and together.",
  missing_token: "No token was sent, so the challenge names no error: it only says what to bring.",
  revoked_token: "Ending a session refuses every token it ever issued.",
  session_ended: "An ended session issues no more tokens.",
  wrong_session: "A grant is for one session: a moderator of one room is nobody in another.",
};

export function showAnswer(place, answer, note = null) {
  const { detail = "", code = null } = answer.body;
  place.replaceChildren(
    element(
      "div",
      { className: `answer ${answer.ok ? "good" : "bad"}` },
      note && element("p", { className: "answer-note" }, note),
      element("p", { className: "answer-words" }, element("b", {}, `${answer.status || "✕"}: `), detail),
      HINTS[code] ? element("p", { className: "answer-hint" }, HINTS[code]) : null,
      facts(answer, code),
    ),
  );
}

export function showWords(place, words, kind = "good") {
  const children = Array.isArray(words) ? words : [words];
  place.replaceChildren(element("div", { className: `answer ${kind}` }, element("p", {}, ...children)));
}

function facts(answer, code) {
  const rows = [["Request", `${answer.method} ${shortened(answer.path)}`]];
  rows.push(["Status", `${answer.status} ${answer.body.title ?? answer.phrase}`]);
  if (code) rows.push(["Code", code]);
  if (answer.challenge) rows.push(["WWW-Authenticate", answer.challenge]);
  const list = element("dl", { className: "facts" });
  for (const [name, value] of rows) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  return list;
}

// Session ids begin alike, so their ends are kept, too.
export const shortened = (text) => text.replace(/([12]_[\w-]{3})[\w-]{20,}([\w-]{10})/g, "$1…$2");
