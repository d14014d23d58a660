// Making elements. Text from a server or a person only ever becomes text, never markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// The chosen value of a group of radio buttons.
export const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

// Keeps a button from being pressed again until `work` is done, without taking the focus from it.
export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-busy");
  }
}
