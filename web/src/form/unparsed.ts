// Text in a JSON field that is not valid JSON yet, so that the form is not sent without it.

import { getContext, setContext } from "svelte";

const UNPARSED = Symbol("unparsed");

export interface Unparsed {
  path: (string | number)[];
  message: string;
}

export function holdUnparsed(): Set<Unparsed> {
  return setContext(UNPARSED, new Set<Unparsed>());
}

export function getUnparsed(): Set<Unparsed> {
  return getContext<Set<Unparsed>>(UNPARSED);
}
