// Shows why the kit answered as it did: each step of its decision, what came of it, and how long it took.

import { element } from "./dom.js";

const TONES = { ok: "good", allow: "good", abstain: "neutral", deny: "bad", fault: "bad", refused: "bad" };

export function addSteps(place, explanation) {
  if (!explanation.ok) return;
  place.firstElementChild.append(
    element(
      "section",
      { className: "why" },
      element("h3", {}, "Why: the kit’s steps"),
      element("ol", { className: "steps" }, ...explanation.body.steps.map(row)),
    ),
  );
}

function row({ step, outcome, detail, seconds }) {
  return element(
    "li",
    {},
    element("span", { className: "step" }, ...breakable(step)),
    element("span", { className: `outcome ${TONES[outcome] ?? "neutral"}` }, outcome),
    detail ? element("span", { className: "detail" }, detail) : null,
    seconds ? element("span", { className: "time" }, duration(seconds)) : null,
  );
}

// A policy goes by the name of its class, with its modules: that may break after each dot.
const breakable = (name) => name.split(/(?<=\.)/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));

const duration = (seconds) =>
  seconds < 0.001 ? `${Math.max(1, Math.round(seconds * 1e6))} µs` : `${(seconds * 1e3).toFixed(1)} ms`;
