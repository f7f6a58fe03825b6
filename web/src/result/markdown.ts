// Markdown as DOM nodes. It can link to other pages, and do nothing else.

import {
  CHECKBOX, EQUATION_BLOCK, EQUATION_INLINE, HEADING_1, HEADING_6, HREF, IMAGE, LINK, RAW_URL, SRC, START,
  type Attr, type Default_Renderer, default_add_token, default_renderer, default_set_attr, type Token,
} from "streaming-markdown"; // prettier-ignore

const BELOW = 3; // headings in a text rank below the page's own

/** Return a renderer that appends to `root`. */
export function rendererInto(root: HTMLElement): Default_Renderer {
  return { ...default_renderer(root), add_token: addToken, set_attr: setAttribute };
}

function addToken(data: Default_Renderer["data"], type: Token): void {
  if (type >= HEADING_1 && type <= HEADING_6) {
    const level = Math.min(type - HEADING_1 + BELOW, 6);
    return add(data, document.createElement(`h${level}`));
  }
  // A link in place of a picture: the user decides whether to contact another server.
  if (type === IMAGE) return add(data, document.createElement("a"));
  if (type === EQUATION_BLOCK || type === EQUATION_INLINE) {
    return add(data, document.createElement("code"));
  }
  default_add_token(data, type);
  if (type === CHECKBOX) data.nodes[data.index]!.ariaLabel = "Done";
  if (type === LINK || type === RAW_URL) data.nodes[data.index]!.setAttribute("rel", "noopener noreferrer");
}

function add(data: Default_Renderer["data"], element: HTMLElement): void {
  data.nodes[data.index]!.append(element);
  data.index += 1;
  data.nodes[data.index] = element;
}

function setAttribute(data: Default_Renderer["data"], type: Attr, value: string): void {
  const element = data.nodes[data.index]!;
  if (type === HREF || type === SRC) {
    const url = linkTo(value);
    if (url === undefined) return;
    element.setAttribute("href", url);
    element.setAttribute("rel", "noopener noreferrer");
    element.setAttribute("target", "_blank");
  } else if (type === START || element instanceof HTMLInputElement) {
    default_set_attr(data, type, value);
  }
}

/** Return the URL if it may be linked to: absolute, with http or https. */
function linkTo(value: string): string | undefined {
  if (!/^https?:\/\//i.test(value)) return undefined;
  return URL.canParse(value) ? new URL(value).href : undefined;
}
