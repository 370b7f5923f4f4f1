// A text field that offers completions, by the ARIA pattern "editable combobox
// with list autocomplete": the arrow keys select, Enter accepts, Escape closes.
import { el, setChildren } from "./dom";
import { count } from "./format";
import { isAbort } from "./http";

const DEBOUNCE_MS = 120;

export interface Option {
  label: string;
  /** Shown beside the label. */
  detail?: string;
}

interface Settings<O extends Option> {
  /** Returns completions. If it fails, none are offered. */
  complete(typed: string, signal: AbortSignal): Promise<O[]>;
  choose(option: O): void;
  /** Shown if there are no completions. */
  nothing?: string;
}

/** Turns `input` into a combobox. Returns the list, which belongs after it in a box with `position: relative`. */
export function combobox<O extends Option>(input: HTMLInputElement, settings: Settings<O>): HTMLElement {
  const list = el("ul", {
    role: "listbox",
    id: `${input.id}-options`,
    class: "options",
    hidden: true,
    "aria-label": "Suggestions",
  });
  const status = el("p", { role: "status", class: "visually-hidden" });
  let options: O[] = [];
  let active = -1;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let request = new AbortController();

  for (const [name, value] of Object.entries({
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  })) {
    input.setAttribute(name, value);
  }

  const close = (): void => {
    clearTimeout(timer);
    request.abort();
    options = [];
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  };
  const activate = (index: number): void => {
    active = index;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    const item = list.children[index];
    if (item === undefined) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  };
  const accept = (option: O): void => {
    close();
    settings.choose(option);
  };
  const offer = (found: O[]): void => {
    options = found;
    setChildren(
      list,
      ...found.map((option, at) =>
        el(
          "li",
          {
            role: "option",
            id: `${list.id}-${at}`,
            "aria-selected": "false",
            // The field keeps the focus.
            mousedown: (event: MouseEvent) => event.preventDefault(),
            click: () => accept(option),
          },
          el("bdi", { class: "option-label" }, option.label),
          option.detail === undefined ? null : el("bdi", { class: "option-detail" }, option.detail),
        ),
      ),
    );
    const nothing = found.length === 0 && settings.nothing !== undefined;
    if (nothing)
      setChildren(
        list,
        el("li", { role: "option", "aria-disabled": "true", class: "option-none" }, settings.nothing),
      );
    list.hidden = found.length === 0 && !nothing;
    input.setAttribute("aria-expanded", String(!list.hidden));
    status.textContent =
      found.length > 0
        ? `${count(found.length, "suggestion")}; use the arrow keys.`
        : (settings.nothing ?? "");
    activate(-1);
  };
  const requestCompletions = async (): Promise<void> => {
    request.abort();
    request = new AbortController();
    const { signal } = request;
    try {
      const found = await settings.complete(input.value.trim(), signal);
      if (!signal.aborted && document.activeElement === input) offer(found);
    } catch (error) {
      // The typed text can be sent without a completion.
      if (!isAbort(error)) close();
    }
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    if (input.value.trim() === "") close();
    else timer = setTimeout(() => void requestCompletions(), DEBOUNCE_MS);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const last = options.length - 1;
    const chosen = options[active];
    if (event.key === "Escape" && !list.hidden) close();
    else if (event.key === "ArrowDown" && last >= 0) activate(active >= last ? 0 : active + 1);
    else if (event.key === "ArrowUp" && last >= 0) activate(active <= 0 ? last : active - 1);
    else if (event.key === "Enter" && chosen !== undefined) accept(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return el("div", { class: "options-anchor" }, list, status);
}
